//! Real servers on loopback: certificates, redirects, connections that are closed, credentials.

use std::path::PathBuf;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::scrape::config::{Hidden, Pem, Proxy, Tls};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tls")
        .join(name)
}

#[test]
fn addresses_of_credentials_are_out_of_reach() {
    let reach = Reach::new("169.254.170.2".parse().expect("a network"));
    let permits = |text: &str| reach.permits(text.parse().expect("an address"));
    for bad in [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "fd00:ec2::254",
        "100.100.100.200",
    ] {
        assert!(!permits(bad), "{bad}");
    }
    for good in [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.20.10",
        "169.254.170.2",
        "::1",
    ] {
        assert!(permits(good), "{good}");
    }
}

async fn request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";

fn fine() -> String {
    FINE.to_owned()
}

/// What a client gets from `url`.
async fn get(client: &Client, connection: &mut Option<Live>, url: &str) -> Result<String, String> {
    let mut answer = client.get(connection, url, &[]).await?;
    let body = read_all(&mut answer, 100).await?;
    Ok(String::from_utf8(body).expect("text"))
}

/// A server of TLS for one connection, which wants a certificate of its client where told.
async fn serve_tls(listener: &TcpListener, wants_client: bool) {
    let certificates = |name| {
        let found = CertificateDer::pem_file_iter(fixture(name)).expect("a file");
        found.collect::<Result<Vec<_>, _>>().expect("certificates")
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = if wants_client {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(certificates("ca.pem"));
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).expect("a key");
    let config = builder
        .with_single_cert(certificates("server.pem"), key)
        .expect("a pair");
    let (stream, _) = listener.accept().await.expect("a connection");
    let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else {
        return;
    };
    if request(&mut stream).await.is_some() {
        _ = stream.write_all(FINE.as_bytes()).await;
    }
}

/// `expect` is the body, or a part of the error.
async fn check_tls(tls: Tls, wants_client: bool, expect: Result<&str, &str>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}/", listener.local_addr().expect("bound"));
    let config = HttpConfig {
        tls,
        ..HttpConfig::default()
    };
    let client = Client::new(&config, &Reach::default());
    let mut connection = None;
    let ((), got) = tokio::join!(
        serve_tls(&listener, wants_client),
        get(&client, &mut connection, &url)
    );
    match (got, expect) {
        (Ok(body), Ok(expect)) => assert_eq!(body, expect),
        (Err(error), Err(part)) => assert!(error.contains(part), "{part:?} in {error}"),
        (got, expect) => panic!("{got:?} is not {expect:?}"),
    }
}

#[tokio::test]
async fn certificates_decide_who_is_spoken_to() {
    let ca = || Some(Pem::File(fixture("ca.pem")));
    let name = || Some("exporter.test".to_owned());
    let good = Tls {
        authorities: ca(),
        server_name: name(),
        ..Tls::default()
    };
    check_tls(good.clone(), false, Ok("fine")).await;
    check_tls(
        Tls {
            server_name: name(),
            ..Tls::default()
        },
        false,
        Err("UnknownIssuer"),
    )
    .await;
    check_tls(
        Tls {
            authorities: ca(),
            ..Tls::default()
        },
        false,
        Err("not valid for"),
    )
    .await;
    check_tls(
        Tls {
            insecure: true,
            ..Tls::default()
        },
        false,
        Ok("fine"),
    )
    .await;
    let text = std::fs::read_to_string(fixture("ca.pem")).expect("a file");
    let as_text = Tls {
        authorities: Some(Pem::Text(Hidden(text))),
        ..good.clone()
    };
    check_tls(as_text, false, Ok("fine")).await;
    let pair = (
        Pem::File(fixture("client.pem")),
        Pem::File(fixture("client.key")),
    );
    check_tls(
        Tls {
            client: Some(pair),
            ..good
        },
        true,
        Ok("fine"),
    )
    .await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_named() {
    let missing = Tls {
        authorities: Some(Pem::File(fixture("none.pem"))),
        ..Tls::default()
    };
    let config = HttpConfig {
        tls: missing,
        ..HttpConfig::default()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}/", listener.local_addr().expect("bound"));
    let client = Client::new(&config, &Reach::default());
    let error = get(&client, &mut None, &url)
        .await
        .expect_err("no such file");
    assert!(error.contains("none.pem"), "{error}");
}

/// Answers connections one after the other, each with texts in turn; what was asked.
async fn serve(listener: &TcpListener, connections: Vec<Vec<String>>) -> Vec<String> {
    let mut asked = Vec::new();
    for answers in connections {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        for answer in answers {
            asked.extend(request(&mut stream).await);
            stream.write_all(answer.as_bytes()).await.expect("sent");
        }
    }
    asked
}

#[tokio::test]
async fn a_connection_is_kept_and_one_that_was_closed_is_made_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/m", listener.local_addr().expect("bound"));
    let client = Client::new(&HttpConfig::default(), &Reach::default());
    let mut connection = None;
    let ask = async {
        for _ in 0..3 {
            assert_eq!(
                get(&client, &mut connection, &url).await.as_deref(),
                Ok("fine")
            );
        }
    };
    // Two answers on the first connection, then it ends without a word.
    let (asked, ()) = tokio::join!(
        serve(&listener, vec![vec![fine(), fine()], vec![fine()]]),
        ask
    );
    assert_eq!(asked.len(), 3);
}

#[tokio::test]
async fn redirects_are_followed_without_credentials_and_never_out_of_reach() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("bound");
    let url = format!("http://{at}/a/b");
    let secret = Secret::Text(Hidden("secret".to_owned()));
    let auth = Some(Auth::Credentials {
        scheme: "Bearer".to_owned(),
        secret,
    });
    let config = HttpConfig {
        auth,
        ..HttpConfig::default()
    };
    let client = Client::new(&config, &Reach::default());
    let to = |place: &str| {
        format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n")
    };
    let other = to(&format!("http://localhost:{}/d", at.port()));
    let (mut first, mut second) = (None, None);
    let (asked, got) = tokio::join!(
        serve(&listener, vec![vec![to("c")], vec![other], vec![fine()]]),
        get(&client, &mut first, &url)
    );
    assert_eq!(got.as_deref(), Ok("fine"));
    assert!(
        asked[1].starts_with("GET /a/c ") && asked[2].starts_with("GET /d "),
        "{asked:?}"
    );
    let told: Vec<bool> = asked
        .iter()
        .map(|head| head.contains("Bearer secret"))
        .collect();
    assert_eq!(
        told,
        [true, true, false],
        "another host is not told the secret"
    );
    for place in [
        "http://169.254.169.254/latest",
        "http://[::ffff:a9fe:a9fe]/",
        "http://2852039166/",
    ] {
        let answers = vec![vec![to(place)]];
        let (_, got) = tokio::join!(serve(&listener, answers), get(&client, &mut second, &url));
        let error = got.expect_err("out of reach");
        assert!(error.contains("net.allow"), "{place}: {error}");
    }
    let stay = HttpConfig {
        follow_redirects: false,
        ..HttpConfig::default()
    };
    let client = Client::new(&stay, &Reach::default());
    let mut third = None;
    let (_, got) = tokio::join!(
        serve(&listener, vec![vec![to("/x")]]),
        client.get(&mut third, &url, &[])
    );
    assert_eq!(got.map(|answer| answer.status.as_u16()), Ok(302));
}

#[tokio::test]
async fn a_proxy_is_asked_for_what_is_not_near() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let proxy = listener.local_addr().expect("bound");
    let config = HttpConfig {
        proxy: Some(Proxy {
            url: format!("http://{proxy}"),
            direct: vec![".near".into(), "10.0.0.0/8".into()],
        }),
        ..HttpConfig::default()
    };
    let client = Client::new(&config, &Reach::default());
    let mut connection = None;
    let (asked, got) = tokio::join!(
        serve(&listener, vec![vec![fine()]]),
        get(&client, &mut connection, "http://far.test:9100/m?a=1")
    );
    assert_eq!(got.as_deref(), Ok("fine"));
    assert!(
        asked[0].starts_with("GET http://far.test:9100/m?a=1 HTTP/1.1\r\nhost: far.test:9100\r\n"),
        "{asked:?}"
    );
    let direct = |url: &str| client.proxy_of(&url.parse().expect("an address")).is_none();
    assert!(direct("http://a.near/") && direct("http://10.1.2.3/") && !direct("http://anear/"));
}
