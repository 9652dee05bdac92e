//! A shop of two services, to see a trace cross HTTP and gRPC:
//!
//! ```text
//! axum-shop payments            # tonic on 127.0.0.1:7002
//! axum-shop web                 # axum on 127.0.0.1:7001, POST /checkout/{amount}
//! ```
//! Both read the standard `OTEL_EXPORTER_OTLP_ENDPOINT` (default http://127.0.0.1:4317).

mod payments;
mod telemetry;
mod web;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    match std::env::args().nth(1).as_deref() {
        Some("web") => {
            let telemetry = telemetry::start("shop-web")?;
            let payments = setting("SHOP_PAYMENTS", "http://127.0.0.1:7002");
            web::serve(&setting("SHOP_LISTEN", "127.0.0.1:7001"), payments).await?;
            telemetry.stop();
        }
        Some("payments") => {
            let telemetry = telemetry::start("shop-payments")?;
            payments::serve(setting("SHOP_LISTEN", "127.0.0.1:7002").parse()?).await?;
            telemetry.stop();
        }
        _ => eprintln!("usage: axum-shop web | payments"),
    }
    Ok(())
}

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}
