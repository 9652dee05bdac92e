//! The real binary on ports of its own with a data directory of its own; ends with the test.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::http::{self, Answer};

pub struct Server {
    child: Child,
    dir: Arc<TempDir>,
    args: Vec<String>,
    pub http: SocketAddr,
    pub otlp_grpc: Option<SocketAddr>,
    pub otlp_http: Option<SocketAddr>,
    stderr: Arc<Mutex<String>>,
}

/// How a process ended that was not meant to serve.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Names another binary to test than the one cargo has built for it: the release, where the figures
/// of docs/reliability.md are what is tested.
const BINARY: &str = "WATCHPOST_TEST_BINARY";

fn binary() -> OsString {
    std::env::var_os(BINARY).unwrap_or_else(|| env!("CARGO_BIN_EXE_watchpost").into())
}

/// Whether the binary is as fast and as lean as users have it.
pub fn optimised() -> bool {
    std::env::var_os(BINARY).is_some() || !cfg!(debug_assertions)
}

/// The binary with none of the caller's settings.
fn command(data_dir: &Path, args: &[String]) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WATCHPOST_"))
    {
        command.env_remove(name);
    }
    command.arg("--data-dir").arg(data_dir).args(args);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a command to its end.
pub fn run(data_dir: &Path, args: &[&str]) -> Ended {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let output = command(data_dir, &args).output().expect("the binary runs");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Server {
    /// On loopback, every port chosen by the system.
    #[track_caller]
    pub fn start() -> Server {
        Server::with(&["--listen", "127.0.0.1:0"])
    }

    /// With these arguments besides ports for OTLP.
    #[track_caller]
    pub fn with(args: &[&str]) -> Server {
        let dir = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let otlp = [
            "--otlp-grpc-listen",
            "127.0.0.1:0",
            "--otlp-http-listen",
            "127.0.0.1:0",
        ];
        let args = otlp
            .iter()
            .chain(args)
            .map(|arg| (*arg).to_owned())
            .collect();
        Server::spawn(dir, args)
    }

    #[track_caller]
    fn spawn(dir: Arc<TempDir>, args: Vec<String>) -> Server {
        let mut child = command(&dir.path().join("data"), &args)
            .spawn()
            .expect("the binary runs");
        let stderr = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().expect("piped"));
        let kept = stderr.clone();
        thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|n| n > 0) {
                kept.lock().expect("no holder panics").push_str(&line);
                line.clear();
            }
        });
        let mut ready = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        stdout.read_line(&mut ready).expect("stdout is text");
        // Whatever else came would break tools that read the one line.
        thread::spawn(move || {
            let mut rest = String::new();
            _ = stdout.read_to_string(&mut rest);
            assert_eq!(rest, "", "nothing but the ready line goes to stdout");
        });
        let addr = |name: &str| {
            let words = ready.trim_end().strip_prefix("ready ")?.split(' ');
            words
                .filter_map(|word| word.split_once('='))
                .find(|(n, _)| *n == name)?
                .1
                .parse()
                .ok()
        };
        let Some(http) = addr("http") else {
            panic!(
                "no ready line but {ready:?}; stderr: {}",
                stderr.lock().expect("no holder panics")
            )
        };
        let (otlp_grpc, otlp_http) = (addr("otlp_grpc"), addr("otlp_http"));
        Server {
            child,
            dir,
            args,
            http,
            otlp_grpc,
            otlp_http,
            stderr,
        }
    }

    pub fn data_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().expect("no holder panics").clone()
    }

    /// Waits until stderr contains `text`: a log line may come after the answer it belongs to.
    #[track_caller]
    pub fn wait_for_stderr(&self, text: &str) -> String {
        for _ in 0..1_000 {
            let stderr = self.stderr();
            if stderr.contains(text) {
                return stderr;
            }
            thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("{text:?} never came to stderr: {}", self.stderr());
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        http::send(self.http, "GET", path, &[], b"")
    }

    /// Ends it as an orchestrator does (SIGTERM); returns the exit code.
    #[track_caller]
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.child.wait().expect("a child of ours").code()
    }

    /// kill -9.
    #[track_caller]
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("a child of ours");
    }

    /// Starts again on the same data, after `stop` or `kill`.
    #[track_caller]
    pub fn again(mut self) -> Server {
        assert!(
            self.child.try_wait().expect("a child of ours").is_some(),
            "stop or kill it first"
        );
        let (dir, args) = (self.dir.clone(), std::mem::take(&mut self.args));
        drop(self);
        Server::spawn(dir, args)
    }

    #[track_caller]
    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id");
        kill_process(pid, signal).expect("the child has not been waited for");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Only this child, by its id; one that ended already is an error we do not mind.
        _ = self.child.kill();
        _ = self.child.wait();
        if thread::panicking() {
            eprintln!("stderr of the server:\n{}", self.stderr());
        }
    }
}
