//! A client of HTTP/1.1 for targets and for what lists them: one connection per target, kept open
//! between scrapes, driven by whoever waits for the answer. Nothing is spawned. Must never connect to
//! an address that the reach forbids, also not after a redirect, and never hold more of a body than
//! it was told.
//!
//! hyper's own client rather than reqwest, measured on one GET over TLS, optimised and stripped: 2.6 MB
//! and 57 crates against 4.4 MB and 132 (90 s of CPU to build against 125), and the address that was
//! checked is the one that is connected to without taking its stack of services apart.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::config::{Auth, HttpConfig, Secret};
use super::tls::Connector;
use crate::units::Networks;

/// As many as Go's client follows.
const REDIRECTS_MAX: usize = 10;

/// Bytes of a proxy's answer to CONNECT.
const CONNECT_BYTES_MAX: usize = 8 << 10;

/// Bytes of a file that holds a secret.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Who may be connected to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    /// `net.allow`.
    allow: Networks,
}

impl Reach {
    pub(crate) fn new(allow: Networks) -> Reach {
        Reach { allow }
    }

    /// Targets come from files that the operator wrote: all but the addresses where clouds hand out
    /// credentials (reliability.md S7). The rest of the link-local networks has exporters on it.
    fn permits(&self, address: IpAddr) -> bool {
        const METADATA: [IpAddr; 9] = [
            IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 169, 254)),
            IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 169, 253)),
            IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 170, 2)),
            IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 170, 23)),
            IpAddr::V4(std::net::Ipv4Addr::new(100, 100, 100, 200)),
            IpAddr::V4(std::net::Ipv4Addr::new(168, 63, 129, 16)),
            IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 0, 192)),
            IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
            IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
        ];
        // An IPv4 address inside of an IPv6 one goes to the same place: mapped, and NAT64.
        let inner = match address.to_canonical() {
            IpAddr::V6(v6) if v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => {
                let [.., a, b, c, d] = v6.octets();
                IpAddr::from([a, b, c, d])
            }
            address => address,
        };
        !METADATA.contains(&inner) || self.allow.contains(inner)
    }
}

/// An open connection with the work that keeps it going.
pub(crate) struct Live {
    host: String,
    sender: SendRequest<Empty<Bytes>>,
    driver: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>,
    /// It has answered before: a failure may be of its age.
    used: bool,
    ended: bool,
}

impl Live {
    /// Waits for `wanted` while the connection is kept going.
    async fn drive<T>(&mut self, wanted: impl Future<Output = T>) -> T {
        let (driver, ended) = (&mut self.driver, &mut self.ended);
        let mut wanted = std::pin::pin!(wanted);
        std::future::poll_fn(move |cx| {
            if !*ended && driver.as_mut().poll(cx).is_ready() {
                *ended = true;
            }
            wanted.as_mut().poll(cx)
        })
        .await
    }

    /// Whether another request can go out: looks at what came since the last one.
    async fn is_ready(&mut self) -> bool {
        self.drive(std::future::ready(())).await;
        !self.ended && self.sender.is_ready()
    }
}

/// How one kind of target is asked.
#[derive(Debug)]
pub(crate) struct Client {
    config: HttpConfig,
    connector: Connector,
    reach: Reach,
}

/// The first part of an answer; its body is read by [`Answer::chunk`].
pub(crate) struct Answer<'c> {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    live: &'c mut Live,
}

impl Answer<'_> {
    /// The next piece of the body.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let body = &mut self.body;
            return match self.live.drive(body.frame()).await {
                None => Ok(None),
                Some(Err(error)) => Err(told(&error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(_) => continue,
                },
            };
        }
    }

    pub(crate) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// As Go prints a status.
    pub(crate) fn status_line(&self) -> String {
        let reason = self.status.canonical_reason().unwrap_or_default();
        format!("{} {reason}", self.status.as_u16())
    }
}

impl Client {
    pub(crate) fn new(config: &HttpConfig, reach: &Reach) -> Client {
        Client {
            connector: Connector::new(&config.tls),
            config: config.clone(),
            reach: reach.clone(),
        }
    }

    /// Asks for `url` over `connection`, or a new one that is left there. Redirects are followed where
    /// the configuration says so. The caller limits the time.
    ///
    /// # Errors
    /// No answer came: why, with the address.
    pub(crate) async fn get<'c>(
        &self,
        connection: &'c mut Option<Live>,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Answer<'c>, String> {
        let mut uri: Uri = url
            .parse()
            .map_err(|error| format!("parse {url:?}: {error}"))?;
        let first_host = uri.host().map(str::to_owned);
        for _ in 0..=REDIRECTS_MAX {
            let trusted = uri.host().map(str::to_owned) == first_host;
            let sent = self.send(connection, &uri, headers, trusted).await;
            let response = sent.map_err(|error| format!("Get \"{uri}\": {error}"))?;
            let next = match self.config.follow_redirects {
                true => redirect(&uri, &response)?,
                false => None,
            };
            match next {
                // Its body is not read, so the connection is of no use any more.
                Some(next) => {
                    *connection = None;
                    uri = next;
                }
                None => {
                    let (parts, body) = response.into_parts();
                    let live = connection.as_mut().expect("it has just answered");
                    return Ok(Answer {
                        status: parts.status,
                        headers: parts.headers,
                        body,
                        live,
                    });
                }
            }
        }
        Err(format!(
            "Get \"{url}\": stopped after {REDIRECTS_MAX} redirects"
        ))
    }

    async fn send(
        &self,
        connection: &mut Option<Live>,
        uri: &Uri,
        headers: &[(HeaderName, HeaderValue)],
        trusted: bool,
    ) -> Result<Response<Incoming>, String> {
        let proxy = self.proxy_of(uri);
        let through_proxy = proxy.is_some() && uri.scheme_str() == Some("http");
        let own = if trusted {
            self.own_headers().await?
        } else {
            Vec::new()
        };
        let request = || {
            let target = match (through_proxy, uri.path_and_query()) {
                (false, Some(path)) => path.as_str().to_owned(),
                (false, None) => "/".to_owned(),
                (true, _) => uri.to_string(),
            };
            let mut request = Request::get(target).header(header::HOST, host_header(uri));
            for (name, value) in headers.iter().chain(&own) {
                request = request.header(name, value);
            }
            request
                .body(Empty::new())
                .map_err(|error| error.to_string())
        };
        let place = format!(
            "{}://{}",
            uri.scheme_str().unwrap_or("http"),
            host_header(uri)
        );
        if connection.as_ref().is_some_and(|live| live.host != place) {
            *connection = None;
        }
        if let Some(live) = connection
            && live.is_ready().await
        {
            let answer = live.sender.send_request(request()?);
            // `send_request` borrows the sender only until it has queued the request.
            match live.drive(answer).await {
                Ok(response) => {
                    live.used = true;
                    return Ok(response);
                }
                // An old connection may be closed by the other side at any time.
                Err(error) if !live.used => return Err(told(&error)),
                Err(_) => {}
            }
        }
        *connection = None;
        let mut live = self.connect(uri, proxy, place).await?;
        let answer = live.sender.send_request(request()?);
        let response = live.drive(answer).await.map_err(|error| told(&error))?;
        live.used = true;
        *connection = Some(live);
        Ok(response)
    }

    async fn connect(&self, uri: &Uri, proxy: Option<Uri>, place: String) -> Result<Live, String> {
        let https = uri.scheme_str() == Some("https");
        if let (true, Some(host)) = (proxy.is_some(), host_of(uri))
            && let Ok(address) = host.parse::<IpAddr>()
        {
            self.check(address)?;
        }
        let mut stream = self.dial(proxy.as_ref().unwrap_or(uri)).await?;
        if !https {
            return shake_hands(stream, place).await;
        }
        if proxy.is_some() {
            tunnel(&mut stream, &authority(uri)).await?;
        }
        let host = host_of(uri).unwrap_or_default();
        let stream = self.connector.connect(&host, stream).await?;
        shake_hands(stream, place).await
    }

    /// Resolves, then connects to an address that was checked, so that a name cannot change in
    /// between.
    async fn dial(&self, uri: &Uri) -> Result<TcpStream, String> {
        let host = host_of(uri).ok_or("no host in the address")?;
        let default = if uri.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        let port = uri.port_u16().unwrap_or(default);
        let found = tokio::net::lookup_host((host.as_str(), port)).await;
        let found: Vec<SocketAddr> = found
            .map_err(|error| format!("dial tcp: lookup {host}: {}", lower(&error)))?
            .collect();
        let mut last = format!("dial tcp: lookup {host}: no such host");
        for address in found {
            self.check(address.ip())?;
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // A scrape is one small packet each way until the body comes.
                    _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = format!("dial tcp {address}: connect: {}", lower(&error)),
            }
        }
        Err(last)
    }

    fn check(&self, address: IpAddr) -> Result<(), String> {
        match self.reach.permits(address) {
            true => Ok(()),
            false => Err(format!(
                "{address} is where clouds hand out credentials; add it to net.allow to scrape it"
            )),
        }
    }

    fn proxy_of(&self, uri: &Uri) -> Option<Uri> {
        let proxy = self.config.proxy.as_ref()?;
        let host = host_of(uri)?;
        let direct = |entry: &String| {
            let entry = entry.trim_start_matches("*.").trim_start_matches('.');
            let network = entry
                .parse::<Networks>()
                .ok()
                .zip(host.parse::<IpAddr>().ok());
            entry == "*"
                || host == entry
                || host
                    .strip_suffix(entry)
                    .is_some_and(|before| before.ends_with('.'))
                || network.is_some_and(|(network, address)| network.contains(address))
        };
        match proxy.direct.iter().any(direct) {
            true => None,
            false => proxy.url.parse().ok(),
        }
    }

    /// Credentials and headers of the configuration; files are read anew each time, so that a token
    /// can be replaced.
    async fn own_headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let mut own = Vec::new();
        if let Some(auth) = &self.config.auth {
            let value = match auth {
                Auth::Basic { user, password } => {
                    let (user, password) = (reveal(user).await?, reveal(password).await?);
                    let pair = format!("{user}:{password}");
                    format!(
                        "Basic {}",
                        base64::engine::general_purpose::STANDARD.encode(pair)
                    )
                }
                Auth::Credentials { scheme, secret } => {
                    format!("{scheme} {}", reveal(secret).await?)
                }
            };
            own.push((header::AUTHORIZATION, sensitive(&value)?));
        }
        for (name, secret) in &self.config.headers {
            let header = HeaderName::from_bytes(name.as_bytes());
            let header = header.map_err(|_| format!("{name:?} is no name of a header"))?;
            own.push((header, sensitive(&reveal(secret).await?)?));
        }
        Ok(own)
    }
}

/// Asks a server on a unix socket, over a connection of its own.
///
/// # Errors
/// No answer came, or one longer than `bytes_max`.
pub(crate) async fn get_unix(
    socket: &Path,
    path: &str,
    bytes_max: usize,
) -> Result<(StatusCode, Vec<u8>), String> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| format!("dial unix {}: {}", socket.display(), lower(&error)))?;
    let mut live = shake_hands(stream, String::new()).await?;
    let request = Request::get(path)
        .header(header::HOST, "docker")
        .body(Empty::new());
    let answer = live
        .sender
        .send_request(request.map_err(|error| error.to_string())?);
    let response = live.drive(answer).await.map_err(|error| told(&error))?;
    let (parts, body) = response.into_parts();
    let (status, headers) = (parts.status, parts.headers);
    let mut answer = Answer {
        status,
        headers,
        body,
        live: &mut live,
    };
    Ok((status, read_all(&mut answer, bytes_max).await?))
}

/// The whole body of an answer.
///
/// # Errors
/// It is longer than `bytes_max`, or breaks off.
pub(crate) async fn read_all(answer: &mut Answer<'_>, bytes_max: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > bytes_max {
            return Err(format!("the answer has more than {bytes_max} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

async fn shake_hands<S>(stream: S, host: String) -> Result<Live, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, driver) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| told(&error))?;
    Ok(Live {
        host,
        sender,
        driver: Box::pin(driver),
        used: false,
        ended: false,
    })
}

/// Asks a proxy for a tunnel (RFC 9110, section 9.3.6).
async fn tunnel(stream: &mut TcpStream, authority: &str) -> Result<(), String> {
    let broken = |error: io::Error| format!("proxy: {}", lower(&error));
    let ask = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.map_err(broken)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= CONNECT_BYTES_MAX {
            return Err("proxy: its answer does not end".to_owned());
        }
        answer.push(stream.read_u8().await.map_err(broken)?);
    }
    let line = String::from_utf8_lossy(&answer);
    let line = line.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some(status) if status.starts_with('2') => Ok(()),
        _ => Err(format!("proxy refused: {line}")),
    }
}

fn redirect(uri: &Uri, response: &Response<Incoming>) -> Result<Option<Uri>, String> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let place = response
        .headers()
        .get(header::LOCATION)
        .and_then(|place| place.to_str().ok());
    let Some(place) = place else {
        return Ok(None);
    };
    let bad = |error| format!("Get \"{uri}\": redirect to {place:?}: {error}");
    let base = format!(
        "{}://{}",
        uri.scheme_str().unwrap_or("http"),
        authority(uri)
    );
    let absolute = match place {
        _ if place.starts_with("http://") || place.starts_with("https://") => place.to_owned(),
        _ if place.starts_with("//") => format!("{}:{place}", uri.scheme_str().unwrap_or("http")),
        _ if place.starts_with('/') => format!("{base}{place}"),
        _ => {
            let dir = uri.path().rsplit_once('/').map_or("", |(dir, _)| dir);
            format!("{base}{dir}/{place}")
        }
    };
    absolute
        .parse()
        .map(Some)
        .map_err(|error: http::uri::InvalidUri| bad(error.to_string()))
}

fn host_of(uri: &Uri) -> Option<String> {
    let host = uri.host()?;
    Some(
        host.trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned(),
    )
}

fn host_header(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    authority.rsplit('@').next().unwrap_or_default().to_owned()
}

/// Host and port, the port also where it is the usual one.
fn authority(uri: &Uri) -> String {
    let host = host_header(uri);
    match (uri.port_u16(), uri.scheme_str()) {
        (None, Some("https")) => format!("{host}:443"),
        _ => host,
    }
}

async fn reveal(secret: &Secret) -> Result<String, String> {
    let path = match secret {
        Secret::Text(text) => return Ok(text.0.clone()),
        Secret::File(path) => path.clone(),
    };
    let read = move || {
        let cannot =
            |error: io::Error| format!("unable to read file {}: {}", path.display(), lower(&error));
        let bytes = std::fs::metadata(&path).map_err(cannot)?.len();
        if bytes > SECRET_BYTES_MAX {
            return Err(format!("{} has {bytes} bytes: no secret", path.display()));
        }
        let text = std::fs::read_to_string(&path).map_err(cannot)?;
        Ok(text.trim().to_owned())
    };
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|error| error.to_string())?
}

fn sensitive(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| "a credential has characters that no header may have".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// An error with its causes: hyper's own text tells only the outermost.
fn told(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// As Go tells errors of the system: `connection refused`, without a number.
fn lower(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let text = text
        .strip_prefix("failed to lookup address information: ")
        .unwrap_or(text);
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_lowercase().to_string());
    format!("{}{}", first.unwrap_or_default(), chars.as_str())
}

/// Shared by the targets of a job.
pub(crate) type SharedClient = Arc<Client>;

#[cfg(test)]
mod tests;
