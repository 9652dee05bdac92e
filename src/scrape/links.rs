//! `scrape.targets`: addresses to scrape for people without a file.

use std::fmt;
use std::str::FromStr;

use super::config::{Discovery, Global, Group, Job};

/// Addresses of one setting; who has more writes a file.
const TARGETS_MAX: usize = 100;

/// The job of addresses that have no name to take.
const JOB: &str = "scrape.targets";

/// Addresses in the order given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TargetUrls(Vec<http::Uri>);

impl TargetUrls {
    /// One job; the label `job` of each target is its host's name, so that `http://checkout:9100` is
    /// the job `checkout`.
    pub(super) fn job(&self, global: &Global) -> Option<Job> {
        let groups: Vec<Group> = self.0.iter().map(group).collect();
        let discovery = vec![Discovery::Static(groups)];
        (!self.0.is_empty()).then(|| Job::of_targets(JOB, global, discovery))
    }
}

fn group(uri: &http::Uri) -> Group {
    let mut labels = vec![
        (
            "__scheme__".to_owned(),
            uri.scheme_str().unwrap_or("http").to_owned(),
        ),
        (
            "__metrics_path__".to_owned(),
            match uri.path() {
                "" | "/" => "/metrics".to_owned(),
                path => path.to_owned(),
            },
        ),
    ];
    let host = uri.host().unwrap_or_default();
    let is_name = host.parse::<std::net::Ipv4Addr>().is_err() && !host.starts_with('[');
    if is_name && host != "localhost" {
        labels.push(("job".to_owned(), host.to_owned()));
    }
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        labels.push((format!("__param_{name}"), value.into_owned()));
    }
    let targets = vec![
        uri.authority()
            .map_or_else(String::new, ToString::to_string),
    ];
    Group { targets, labels }
}

impl FromStr for TargetUrls {
    type Err = String;

    fn from_str(text: &str) -> Result<TargetUrls, String> {
        let mut urls = Vec::new();
        for word in text
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
        {
            let bad = || format!("{word:?} is not an address such as \"http://app:8080/metrics\"");
            let with_scheme = if word.contains("://") {
                word.to_owned()
            } else {
                format!("http://{word}")
            };
            let uri: http::Uri = with_scheme.parse().map_err(|_| bad())?;
            if !matches!(uri.scheme_str(), Some("http" | "https"))
                || uri.host().is_none_or(str::is_empty)
            {
                return Err(bad());
            }
            if uri
                .authority()
                .is_some_and(|authority| authority.as_str().contains('@'))
            {
                let host = uri.host().unwrap_or_default();
                return Err(format!(
                    "the address of {host:?} has a password in it; write basic_auth into scrape.config_file"
                ));
            }
            urls.push(uri);
        }
        match urls.len() {
            n if n > TARGETS_MAX => Err(format!(
                "{n} targets, at most {TARGETS_MAX} may be; scrape.config_file takes more"
            )),
            _ => Ok(TargetUrls(urls)),
        }
    }
}

impl fmt::Display for TargetUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, url) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{url}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::metric::Labels;
    use crate::scrape::target::{ADDRESS, Found, populate};

    #[track_caller]
    fn check(text: &str, expect: &[(&str, &str)]) {
        let urls: TargetUrls = text.parse().expect("addresses");
        assert_eq!(urls.to_string().parse(), Ok(urls.clone()));
        let job = urls.job(&Global::default()).expect("a job");
        let Discovery::Static(groups) = &job.discovery[0] else {
            panic!("static")
        };
        let shown: Vec<(String, String)> = groups
            .iter()
            .map(|group| {
                let labels = group
                    .labels
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()));
                let labels = Labels::of(labels.chain([(ADDRESS, group.targets[0].as_str())]));
                let Ok(Found::Target(target)) = populate(&job, &labels) else {
                    panic!("a target")
                };
                (target.url.clone(), target.labels.to_string())
            })
            .collect();
        let expect: Vec<_> = expect
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect();
        assert_eq!(shown, expect);
    }

    #[test]
    fn addresses_are_a_job() {
        check(
            "http://checkout:9100, https://db.example/m?a=1,127.0.0.1:80",
            &[
                (
                    "http://checkout:9100/metrics",
                    r#"{instance="checkout:9100", job="checkout"}"#,
                ),
                (
                    "https://db.example/m?a=1",
                    r#"{instance="db.example", job="db.example"}"#,
                ),
                (
                    "http://127.0.0.1:80/metrics",
                    r#"{instance="127.0.0.1:80", job="scrape.targets"}"#,
                ),
            ],
        );
        assert!(TargetUrls::default().job(&Global::default()).is_none());
        for bad in ["ftp://x", "http://", "http://u:p@h"] {
            assert!(bad.parse::<TargetUrls>().is_err(), "{bad}");
        }
    }
}
