//! Generates the gRPC client and server of the payments service without protoc: the two messages
//! are plain prost structs in `src/payments.rs`.

fn main() {
    let charge = tonic_build::manual::Method::builder()
        .name("charge")
        .route_name("Charge")
        .input_type("crate::payments::ChargeRequest")
        .output_type("crate::payments::ChargeReply")
        .codec_path("tonic_prost::ProstCodec")
        .build();
    let payments = tonic_build::manual::Service::builder()
        .name("Payments")
        .package("shop.v1")
        .method(charge)
        .build();
    tonic_build::manual::Builder::new().compile(&[payments]);
}
