//! A gRPC client of one call: HTTP/2 without TLS, the answer as it came.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

/// Generous: the machine may be busy with other tests.
const TIMEOUT: Duration = Duration::from_secs(20);

pub const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
pub const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
pub const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

pub struct Reply {
    pub http_status: u16,
    /// `grpc-status`, from the trailers or, for trailers-only answers, the headers.
    pub code: u32,
    /// `grpc-message`, decoded.
    pub message: String,
    /// `grpc-status-details-bin`, decoded.
    pub details: Vec<u8>,
    /// The first message without its frame.
    pub body: Vec<u8>,
}

/// Puts the frame of gRPC around a message.
pub fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut out = vec![flag];
    out.extend_from_slice(&(message.len() as u32).to_be_bytes());
    out.extend_from_slice(message);
    out
}

/// Calls a method; `headers` come besides the ones every call has.
#[track_caller]
pub fn call(addr: SocketAddr, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let exchange = exchange(addr, path, headers, body);
        tokio::time::timeout(TIMEOUT, exchange)
            .await
            .expect("an answer in time")
    })
}

async fn exchange(addr: SocketAddr, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
    let stream = tokio::net::TcpStream::connect(addr)
        .await
        .expect("the server listens");
    let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.expect("ready");
    let mut request =
        axum::http::Request::post(format!("http://{addr}{path}")).header("te", "trailers");
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/grpc");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(()).expect("a request");
    let (answer, mut sender) = client.send_request(request, false).expect("sent");
    send(&mut sender, body.into()).await;
    let (head, mut stream) = answer.await.expect("an answer").into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data.expect("data");
        _ = stream.flow_control().release_capacity(data.len());
        bytes.extend_from_slice(&data);
    }
    let trailers = stream
        .trailers()
        .await
        .expect("trailers")
        .unwrap_or_default();
    let get = |name: &str| {
        let value = trailers.get(name).or_else(|| head.headers.get(name));
        value
            .map(|v| v.to_str().expect("ASCII").to_owned())
            .unwrap_or_default()
    };
    let details = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD_NO_PAD,
        get("grpc-status-details-bin").trim_end_matches('='),
    );
    let reply = Reply {
        http_status: head.status.as_u16(),
        code: get("grpc-status").parse().unwrap_or(u32::MAX),
        message: percent_decoded(&get("grpc-message")),
        details: details.expect("base64"),
        body: bytes.get(5..).unwrap_or_default().to_vec(),
    };
    drop(client);
    connection.abort();
    reply
}

/// Sends within the window; a server that has answered already takes no more, which is fine.
async fn send(sender: &mut h2::SendStream<Bytes>, mut body: Bytes) {
    while !body.is_empty() {
        sender.reserve_capacity(body.len());
        let window = std::future::poll_fn(|ctx| sender.poll_capacity(ctx)).await;
        let Some(Ok(window)) = window else { return };
        let part = body.split_to(window.min(body.len()));
        if sender.send_data(part, body.is_empty()).is_err() {
            return;
        }
    }
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [
                bytes.next().expect("a digit"),
                bytes.next().expect("a digit"),
            ];
            let digits = std::str::from_utf8(&digits).expect("ASCII");
            out.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).expect("UTF-8")
}
