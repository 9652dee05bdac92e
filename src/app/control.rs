//! Commands that speak to a running server, or do its work where none runs.
//!
//! The catalogue belongs to one process at a time. A running server therefore leaves its address
//! and a secret in `control` in the data directory, readable by its own user only: whoever can read
//! that file could read all data anyway.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command::Stop;
use crate::config::Settings;
use crate::observe::Clock;
use crate::serve::access::{self, Access};
use crate::store;

/// Name of the file in the data directory.
const FILE: &str = "control";
/// A server on this machine answers in milliseconds; a password hash takes about 50.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Our own answers to these requests have under 1 KiB.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// The file of a running server; removed when dropped.
pub(super) struct Control {
    path: PathBuf,
}

impl Control {
    /// Writes the file anew, with mode 0600 from the first byte on.
    pub(super) fn write(data_dir: &Path, http: SocketAddr, secret: &str) -> io::Result<Control> {
        let path = data_dir.join(FILE);
        let fresh = data_dir.join("control.new");
        _ = fs::remove_file(&fresh);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        write!(file, "{}\n{secret}\n", reachable(http))?;
        fs::rename(&fresh, &path)?;
        Ok(Control { path })
    }

    fn read(settings: &Settings) -> Option<(SocketAddr, String)> {
        let text = fs::read_to_string(Path::new(&settings.data_dir.0).join(FILE)).ok()?;
        let (addr, secret) = text.trim_end().split_once('\n')?;
        Some((addr.parse().ok()?, secret.to_owned()))
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.path);
    }
}

/// `watchpost healthcheck`: exit 0 when the server is ready.
pub(super) fn healthcheck(settings: &Settings) -> Result<(), Stop> {
    let addr =
        Control::read(settings).map_or_else(|| reachable(settings.listen.0), |(addr, _)| addr);
    let answer = ask(addr, "GET", "/readyz", None, "")
        .map_err(|e| Stop::Failed(format!("no answer from {addr}: {e}")))?;
    match answer.status {
        200 => Ok(()),
        _ => Err(Stop::Failed(answer.body.trim_end().to_owned())),
    }
}

/// `watchpost token create`: prints the token and nothing else on stdout.
pub(super) fn create_token(settings: &Settings, name: &str, scope: &str) -> Result<(), Stop> {
    let scopes: access::Scopes = scope
        .parse()
        .map_err(|e: String| Stop::Usage(vec![format!("--scope: {e}")]))?;
    let wanted = serde_json::json!({ "name": name, "scope": scope });
    let token = match through_server(settings, "/api/v1/tokens", &wanted)? {
        Some(answer) => {
            let answer: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
            answer["token"]
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| Stop::Failed("the server's answer has no token".into()))?
        }
        None => {
            let made =
                offline(settings)?
                    .access
                    .create_token_now(name, scopes, Clock::System.now());
            made.map_err(|e| Stop::Failed(e.to_string()))?.secret
        }
    };
    println!("{token}");
    Ok(())
}

/// `watchpost user add`.
pub(super) fn add_user(
    settings: &Settings,
    name: &str,
    password_file: Option<&Path>,
) -> Result<(), Stop> {
    let password = read_password(password_file)?;
    let wanted = serde_json::json!({ "name": name, "password": password });
    if through_server(settings, "/api/v1/users", &wanted)?.is_some() {
        return Ok(());
    }
    offline(settings)?
        .access
        .add_user_now(name, &password, Clock::System.now())
        .map_err(|e| Stop::Failed(e.to_string()))
}

fn read_password(file: Option<&Path>) -> Result<String, Stop> {
    let text = match file {
        Some(path) => fs::read_to_string(path)
            .map_err(|e| Stop::Failed(format!("cannot read {}: {e}", path.display())))?,
        None => {
            eprint!("password: ");
            let mut line = String::new();
            io::stdin()
                .read_line(&mut line)
                .map_err(|e| Stop::Failed(format!("cannot read the password: {e}")))?;
            line
        }
    };
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Sends the wish to the running server; None when there is none.
fn through_server(
    settings: &Settings,
    path: &str,
    wanted: &serde_json::Value,
) -> Result<Option<String>, Stop> {
    let Some((addr, secret)) = Control::read(settings) else {
        return Ok(None);
    };
    let answer = match ask(addr, "POST", path, Some(&secret), &wanted.to_string()) {
        Ok(answer) => answer,
        // A killed server leaves its file behind; nobody listens there any more.
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => return Ok(None),
        Err(e) => return Err(Stop::Failed(format!("no answer from {addr}: {e}"))),
    };
    match answer.status {
        200..=299 => Ok(Some(answer.body)),
        // Another program listens where the killed server was, or a restart is under way.
        401 => Err(Stop::Failed(format!(
            "the program on {addr} does not know this data directory; try again"
        ))),
        status => {
            let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
            let message = body["error"]["message"]
                .as_str()
                .map_or_else(|| format!("status {status}"), str::to_owned);
            Err(Stop::Failed(message))
        }
    }
}

/// What of the store the offline commands need; the lock keeps a server from starting meanwhile.
struct Offline {
    access: Access,
    _lock: store::disk::Lock,
}

/// Opens the small state directly; fails while a server has it.
fn offline(settings: &Settings) -> Result<Offline, Stop> {
    let opened = store::open_database(&store::Disk::Real, Path::new(&settings.data_dir.0));
    let (database, _lock) = opened.map_err(|e| Stop::Failed(e.to_string()))?;
    let access = Access::open(access::Config::from_settings(settings), database, "");
    Ok(Offline {
        access: access.map_err(|e| Stop::Failed(e.to_string()))?,
        _lock,
    })
}

struct Answer {
    status: u16,
    body: String,
}

/// One HTTP/1.1 request to a server on this machine.
fn ask(
    addr: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &str,
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&addr, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let authorization = token.map_or_else(String::new, |token| {
        format!("Authorization: Bearer {token}\r\n")
    });
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorization}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut text = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text)?;
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(invalid)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(invalid)?;
    Ok(Answer {
        status,
        body: body.to_owned(),
    })
}

/// The address by which this machine reaches a listener: "any" becomes loopback.
pub(super) fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}
