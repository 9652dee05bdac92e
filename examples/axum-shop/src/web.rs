//! The shop's front: one HTTP route that charges a card through the payments service.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use opentelemetry::global;
use serde::Serialize;
use tonic::transport::{Channel, Endpoint};
use tracing::{Instrument, Span, info, info_span, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::payments::{ChargeRequest, rpc::payments_client::PaymentsClient};
use crate::telemetry::{HeaderReader, MetadataWriter};

#[derive(Serialize)]
struct Checkout {
    order: String,
    receipt: Option<String>,
    trace_id: String,
}

/// Serves until Ctrl-C.
pub async fn serve(address: &str, payments: String) -> Result<(), Box<dyn std::error::Error>> {
    let payments = PaymentsClient::new(Endpoint::from_shared(payments)?.connect_lazy());
    let app = Router::new()
        .route("/checkout/{cents}", post(checkout))
        .with_state(payments);
    let listener = tokio::net::TcpListener::bind(address).await?;
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, app)
        .with_graceful_shutdown(stop)
        .await?;
    Ok(())
}

async fn checkout(
    State(payments): State<PaymentsClient<Channel>>,
    Path(cents): Path<u64>,
    headers: HeaderMap,
) -> (StatusCode, Json<Checkout>) {
    let parent = global::get_text_map_propagator(|p| p.extract(&HeaderReader(&headers)));
    let span = info_span!(
        "POST /checkout/{cents}",
        otel.kind = "server",
        otel.status_code = tracing::field::Empty,
        http.request.method = "POST",
        http.route = "/checkout/{cents}",
        http.response.status_code = tracing::field::Empty
    );
    let _ = span.set_parent(parent);
    async move {
        let order = format!("o-{cents}");
        let (status, receipt) = match charge(payments, &order, cents).await {
            Ok(receipt) => (StatusCode::OK, Some(receipt)),
            Err(declined) => {
                warn!(order, reason = declined.message(), "checkout failed");
                (StatusCode::PAYMENT_REQUIRED, None)
            }
        };
        let span = Span::current();
        span.record("http.response.status_code", status.as_u16());
        if receipt.is_none() {
            span.record("otel.status_code", "ERROR");
        } else {
            info!(order, "checkout done");
        }
        let context = span.context();
        let trace_id = opentelemetry::trace::TraceContextExt::span(&context)
            .span_context()
            .trace_id()
            .to_string();
        (
            status,
            Json(Checkout {
                order,
                receipt,
                trace_id,
            }),
        )
    }
    .instrument(span)
    .await
}

#[tracing::instrument(skip(payments), fields(otel.kind = "client", rpc.system = "grpc", rpc.service = "shop.v1.Payments"))]
async fn charge(
    mut payments: PaymentsClient<Channel>,
    order: &str,
    cents: u64,
) -> Result<String, tonic::Status> {
    let mut request = tonic::Request::new(ChargeRequest {
        order: order.to_owned(),
        cents,
    });
    let context = Span::current().context();
    global::get_text_map_propagator(|p| {
        p.inject_context(&context, &mut MetadataWriter(request.metadata_mut()))
    });
    Ok(payments.charge(request).await?.into_inner().receipt)
}
