//! TLS of a scrape: own authorities or those of the system, a client's certificate, a server's other
//! name, or no check at all. Certificates are read again when their files change.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::config::{Pem, Tls, TlsMin};

/// Bytes of one file of certificates; the authorities of a whole system have 250 KB.
const PEM_BYTES_MAX: u64 = 4 << 20;

/// Makes TLS of connections.
#[derive(Debug)]
pub(super) struct Connector {
    tls: Arc<Tls>,
    /// Guards what was made last and of which files; held for a comparison.
    made: Arc<Mutex<Option<Made>>>,
}

#[derive(Clone, Debug)]
struct Made {
    stamps: Vec<Option<(SystemTime, u64)>>,
    config: Arc<ClientConfig>,
}

impl Connector {
    pub(super) fn new(tls: &Tls) -> Connector {
        Connector {
            tls: Arc::new(tls.clone()),
            made: Arc::default(),
        }
    }

    /// # Errors
    /// A file cannot be read, or the server is not who it should be.
    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let config = self.config().await?;
        let name = self.tls.server_name.as_deref().unwrap_or(host).to_owned();
        let name =
            ServerName::try_from(name).map_err(|error| format!("tls: server name: {error}"))?;
        let connected = TlsConnector::from(config).connect(name, stream).await;
        connected.map_err(|error| format!("tls: {error}"))
    }

    async fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let (tls, made) = (self.tls.clone(), self.made.clone());
        let work = move || {
            let stamps = stamps(&tls);
            let last = made.lock().expect("no holder panics").clone();
            if let Some(last) = last.filter(|last| last.stamps == stamps) {
                return Ok(last.config);
            }
            let config = Arc::new(build(&tls)?);
            let new = Made {
                stamps,
                config: config.clone(),
            };
            *made.lock().expect("no holder panics") = Some(new);
            Ok(config)
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| error.to_string())?
    }
}

/// When each file was changed and how long it is.
fn stamps(tls: &Tls) -> Vec<Option<(SystemTime, u64)>> {
    let client = tls.client.as_ref().map(|(cert, key)| [cert, key]);
    let all = tls.authorities.iter().chain(client.into_iter().flatten());
    let stamp = |path: &PathBuf| {
        let about = std::fs::metadata(path).ok()?;
        Some((about.modified().ok()?, about.len()))
    };
    all.map(|pem| match pem {
        Pem::File(path) => stamp(path),
        Pem::Text(_) => None,
    })
    .collect()
}

fn build(tls: &Tls) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] = match tls.min {
        TlsMin::V12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsMin::V13 => &[&rustls::version::TLS13],
    };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|error| format!("tls: {error}"))?;
    let builder = if tls.insecure {
        let anyone = Arc::new(Anyone { provider });
        builder.dangerous().with_custom_certificate_verifier(anyone)
    } else {
        builder.with_root_certificates(authorities(tls)?)
    };
    match &tls.client {
        None => Ok(builder.with_no_client_auth()),
        Some((cert, key)) => {
            let chain = certificates(cert)?;
            let key = PrivateKeyDer::from_pem_slice(&bytes(key)?)
                .map_err(|error| format!("tls: {}: {error}", place(key)))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("tls: certificate and key of the client: {error}"))
        }
    }
}

fn authorities(tls: &Tls) -> Result<Arc<RootCertStore>, String> {
    let Some(pem) = &tls.authorities else {
        return Ok(of_system());
    };
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem)? {
        store
            .add(certificate)
            .map_err(|error| format!("tls: {}: {error}", place(pem)))?;
    }
    match store.is_empty() {
        true => Err(format!("tls: {} has no certificate", place(pem))),
        false => Ok(Arc::new(store)),
    }
}

/// Read once: 140 certificates take 10 ms, and the system's change with its updates.
fn of_system() -> Arc<RootCertStore> {
    static STORE: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let mut store = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "authorities of the system cannot be read");
        }
        store.add_parsable_certificates(found.certs);
        Arc::new(store)
    };
    STORE.get_or_init(read).clone()
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes(pem)?).collect();
    found.map_err(|error| format!("tls: {}: {error}", place(pem)))
}

fn bytes(pem: &Pem) -> Result<Vec<u8>, String> {
    let path = match pem {
        Pem::Text(text) => return Ok(text.0.clone().into_bytes()),
        Pem::File(path) => path,
    };
    let cannot = |error| format!("unable to read file {}: {error}", path.display());
    let length = std::fs::metadata(path).map_err(cannot)?.len();
    if length > PEM_BYTES_MAX {
        return Err(format!(
            "{} has {length} bytes: no certificates",
            path.display()
        ));
    }
    std::fs::read(path).map_err(cannot)
}

fn place(pem: &Pem) -> String {
    match pem {
        Pem::Text(_) => "the text in the configuration".to_owned(),
        Pem::File(path) => path.display().to_string(),
    }
}

/// `insecure_skip_verify`: whoever answers is taken for the target.
#[derive(Debug)]
struct Anyone {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
