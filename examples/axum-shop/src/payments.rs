//! The payments service: charges a card over gRPC; declines every amount that ends in 13.

use std::net::SocketAddr;
use std::time::Duration;

use opentelemetry::global;
use tonic::{Request, Response, Status};
use tracing::{Instrument, error, info, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::telemetry::MetadataReader;

/// `shop.v1.ChargeRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChargeRequest {
    #[prost(string, tag = "1")]
    pub order: String,
    #[prost(uint64, tag = "2")]
    pub cents: u64,
}

/// `shop.v1.ChargeReply`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChargeReply {
    #[prost(string, tag = "1")]
    pub receipt: String,
}

pub mod rpc {
    include!(concat!(env!("OUT_DIR"), "/shop.v1.Payments.rs"));
}

struct Payments;

#[tonic::async_trait]
impl rpc::payments_server::Payments for Payments {
    async fn charge(
        &self,
        request: Request<ChargeRequest>,
    ) -> Result<Response<ChargeReply>, Status> {
        let parent =
            global::get_text_map_propagator(|p| p.extract(&MetadataReader(request.metadata())));
        let charge = request.into_inner();
        let span = info_span!(
            "shop.v1.Payments/Charge",
            otel.kind = "server",
            otel.status_code = tracing::field::Empty,
            order.id = charge.order,
            order.cents = charge.cents
        );
        let _ = span.set_parent(parent);
        async move {
            fraud_score(&charge).await;
            if charge.cents % 100 == 13 {
                tracing::Span::current().record("otel.status_code", "ERROR");
                error!(order = charge.order, code = "card_expired", "card declined");
                return Err(Status::failed_precondition("card expired"));
            }
            info!(order = charge.order, cents = charge.cents, "card charged");
            Ok(Response::new(ChargeReply {
                receipt: format!("r-{}", charge.order),
            }))
        }
        .instrument(span)
        .await
    }
}

#[tracing::instrument(skip_all, fields(score = 0.21))]
async fn fraud_score(charge: &ChargeRequest) {
    tokio::time::sleep(Duration::from_millis(3 + charge.cents % 7)).await;
}

/// Serves until Ctrl-C.
pub async fn serve(address: SocketAddr) -> Result<(), tonic::transport::Error> {
    let service = rpc::payments_server::PaymentsServer::new(Payments);
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_shutdown(address, stop)
        .await
}
