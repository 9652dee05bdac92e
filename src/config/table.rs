//! Every setting in one table: its name, type, default and what it is for. `docs/configuration.md`
//! is made from it, and a test compares the two.

use super::link::TraceLink;
use super::values::{
    AccessMode, Addr, Auto, ClientHeader, Count, FilePath, IngestAccess, Secret, ServicePeriods,
    Switch, Text, Url,
};
use crate::ingest::{Durability, Redact};
use crate::scrape::TargetUrls;
use crate::units::{ByteSize, Networks, OrOff, Period};

/// One row of the table.
pub(crate) struct Setting {
    /// As the TOML file writes it, sections joined by a point: `retention.traces`.
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    pub(crate) what: &'static [&'static str],
    /// Secrets can also be given as the path of a file, by the name with `_file` added.
    pub(crate) secret: bool,
    /// Parses the text into the field.
    pub(crate) apply: fn(&mut Settings, &str) -> Result<(), String>,
    /// Prints the field; a secret only as set or not.
    pub(crate) show: fn(&Settings) -> String,
}

/// The struct, its defaults and the table come from the same lines, so that none can be forgotten.
macro_rules! settings {
    ($($(#[doc = $what:literal])+ $(@$secret:ident)? $name:literal = $field:ident: $type:ty = $default:literal;)+) => {
        /// All settings, typed; `config::parts` hands them to the modules.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) struct Settings {
            $($(#[doc = $what])+ pub(crate) $field: $type,)+
        }

        impl Default for Settings {
            fn default() -> Self {
                Settings {
                    $($field: $default.parse().expect("a test parses every default"),)+
                }
            }
        }

        /// In the order of the documentation.
        pub(crate) const SETTINGS: &[Setting] = &[
            $(Setting {
                name: $name,
                default: $default,
                what: &[$($what),+],
                secret: !<[&str]>::is_empty(&[$(stringify!($secret)),*]),
                apply: |settings, text| {
                    settings.$field = text.parse()?;
                    Ok(())
                },
                show: |settings| settings.$field.to_string(),
            },)+
        ];
    };
}

settings! {
    /// The address of everything: pages, APIs, OTLP over HTTP and gRPC (HTTP/1.1 and h2c).
    "listen" = listen: Addr = "127.0.0.1:4300";
    /// OTLP over gRPC, also served at `listen`.
    "otlp_grpc_listen" = otlp_grpc_listen: OrOff<Addr> = "127.0.0.1:4317";
    /// OTLP over HTTP, also served at `listen`.
    "otlp_http_listen" = otlp_http_listen: OrOff<Addr> = "127.0.0.1:4318";
    /// Whether ports that other programs expect are opened at the address of `listen`: 9090
    /// (Prometheus' API at the root) and 9091 (Pushgateway); also `--compat-ports`.
    "compat_ports" = compat_ports: Switch = "false";
    /// Where everything is kept. One process at a time; created when missing.
    "data_dir" = data_dir: Text = "./watchpost-data";
    /// The address that people and SDKs use, when a proxy or a public name is in front: its host is
    /// accepted, links and snippets show it, and cookies become `Secure` when it is https.
    "external_url" = external_url: Url = "";
    /// Where else a trace can be seen, as a button on its page: an http(s) address with `${trace_id}`
    /// and, where wanted, `${start_ms}` and `${end_ms}` (epoch ms) to fill in.
    "ui.trace_link" = ui_trace_link: TraceLink = "";
    /// What goes to stderr: `error`, `warn`, `info`, `debug`, or per module as in `info,watchpost::store=debug`.
    "log" = log: Text = "info";
    /// `fast`: a request is acknowledged when the kernel has it, which survives kill -9; a power cut
    /// costs at most one second. `sync`: it waits for the disk (2-10 ms).
    "durability" = durability: Durability = "fast";

    /// How long spans are kept and shown.
    "retention.traces" = retention_traces: OrOff<Period> = "7d";
    /// How long log records are kept and shown.
    "retention.logs" = retention_logs: OrOff<Period> = "7d";
    /// How long samples of metrics are kept and shown. `off` keeps them for ever and takes samples of
    /// any time; otherwise those more than an hour older than the newest of their series are refused.
    "retention.metrics" = retention_metrics: OrOff<Period> = "30d";
    /// Services whose spans and log records are kept for another time, as in `checkout=30d,batch=1d`
    /// or, in the file, a table `[retention.services]` of names and times; at most 32, `off` keeps for
    /// ever. Holds for what comes in from then on; a shorter time also hides what is there.
    "retention.services" = retention_services: ServicePeriods = "";
    /// Bytes of all segments; the oldest go first. `auto` is what the volume has room for.
    "retention.max_bytes" = retention_max_bytes: Auto<ByteSize> = "auto";

    /// The memory budget, at least 64 MB, split over requests, heads, queries and caches at start.
    /// `auto` is 60 % of the container's or the machine's memory, at most 1 GiB; a small container
    /// gives up to 80 % for the least.
    "limits.memory" = limits_memory: Auto<ByteSize> = "auto";
    /// Below this much free disk, ingest answers 503 and queries go on. `auto` is
    /// max(5 %, min(256 MB, 10 %)) of the volume.
    "limits.disk_free_min" = limits_disk_free_min: Auto<ByteSize> = "auto";
    /// Connections held at once over all listeners; more are refused and counted.
    "limits.connections" = limits_connections: Count = "1024";
    /// Series of metrics with samples within the last hour; samples of more are refused and counted.
    /// One metric may have a quarter of them, one target half. `auto` is one for 5,120 bytes of
    /// `limits.memory`: 50,000 of 256 MB.
    "limits.active_series" = limits_active_series: Auto<Count> = "auto";
    /// The largest request, after decompression. `auto` is a sixteenth of `limits.memory`, at most
    /// 32 MiB; more than a quarter of what requests in flight may take is refused.
    "limits.request_bytes" = limits_request_bytes: Auto<ByteSize> = "auto";
    /// Longest name of a span, an event or an attribute; longer ones are cut and marked.
    "limits.name_bytes" = limits_name_bytes: ByteSize = "1KiB";
    /// Longest attribute value; longer ones are cut and marked.
    "limits.value_bytes" = limits_value_bytes: ByteSize = "64KiB";
    /// Longest log body; longer ones are cut and marked.
    "limits.line_bytes" = limits_line_bytes: ByteSize = "256KiB";
    /// Attributes of one record, span, event or link; more are dropped and counted in its dropped count.
    "limits.attributes" = limits_attributes: Count = "128";

    /// A request seen before within this time is acknowledged again and not stored twice. `0` turns it off.
    "ingest.dedup_window" = ingest_dedup_window: Period = "5m";
    /// Which secrets are masked before anything reaches the disk: a list of `credentials` (values of
    /// keys such as authorization, cookie, password; bearer tokens; JWTs), `cards` (payment card
    /// numbers) and `emails`, or `off`. The last two cost more.
    "ingest.redact" = ingest_redact: Redact = "credentials";

    /// A Prometheus configuration file, unchanged: its jobs are scraped. Read again at SIGHUP and
    /// `POST /-/reload`; a file with mistakes leaves the one before in force.
    "scrape.config_file" = scrape_config_file: FilePath = "";
    /// Addresses to scrape without a file, as in `http://app:8080/metrics, node:9100`; at most 100,
    /// every minute. The label `job` is the host's name.
    "scrape.targets" = scrape_targets: TargetUrls = "";

    /// `auto`: open on loopback addresses, login and tokens on any other. `none`: open everywhere (`--insecure`).
    "auth.mode" = auth_mode: AccessMode = "auto";
    /// Whether senders need a token. `auto`: as `auth.mode` says; `open`: never, for a private
    /// network; `token`: always, also on loopback.
    "auth.ingest" = auth_ingest: IngestAccess = "auto";
    /// The password of the account `admin`, created or updated at start; without it, a first start
    /// on a non-loopback address prints a set-up link.
    @secret "auth.admin_password" = auth_admin_password: Secret = "";
    /// A token that senders may use (scope ingest) besides those made in the settings page: at least
    /// 32 characters, for platforms that hand secrets over as environment.
    @secret "auth.ingest_token" = auth_ingest_token: Secret = "";

    /// Networks of the proxies in front of watchpost, as in `10.0.0.0/8, fd00::/8`. Only they are
    /// believed about whom they pass on; without it everybody behind a proxy shares one count of
    /// wrong passwords.
    "net.trusted_proxies" = net_trusted_proxies: Networks = "";
    /// Networks that may be asked though their addresses are where clouds hand out credentials, as in
    /// `169.254.169.254`: targets of the scrape file reach every other address.
    "net.allow" = net_allow: Networks = "";
    /// Where a trusted proxy writes its client's address: `x-forwarded-for`, or `fly-client-ip` on Fly.io.
    "net.client_ip_header" = net_client_ip_header: ClientHeader = "x-forwarded-for";
}

/// Settings of the design whose subject this version does not have yet: known, so that the error
/// can say so, and refused, because accepting them would promise something.
const LATER: &[(&str, &str)] = &[
    ("retention.issues", "issues"),
    ("alert.", "alerts"),
    ("brand.", "white-label"),
];

/// The row of a name.
pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// Whether `name` is a secret's name with `_file` added.
pub(crate) fn is_secret_file(name: &str) -> bool {
    name.strip_suffix("_file")
        .and_then(find)
        .is_some_and(|setting| setting.secret)
}

/// What to say about a name that is not in the table: when it comes, or the nearest one.
pub(crate) fn unknown(name: &str) -> String {
    let later = |(prefix, _): &&(&str, &str)| name.starts_with(prefix.trim_end_matches('.'));
    if let Some((_, subject)) = LATER.iter().find(later) {
        return format!("takes effect with {subject}, which this version does not have; remove it");
    }
    let nearest = SETTINGS.iter().map(|s| (edits(name, s.name), s.name)).min();
    match nearest {
        Some((distance, nearest)) if distance <= 3 => {
            format!("unknown setting; did you mean {nearest}?")
        }
        _ => "unknown setting; docs/configuration.md has the list".to_owned(),
    }
}

/// Edit distance, for the suggestion. Names are short: the quadratic table is a few hundred cells.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
