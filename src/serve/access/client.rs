//! Whose request it is where proxies stand in front (reliability S9): the brake on guessing passwords
//! counts by this address. A header is believed only from a proxy that the settings name; anybody
//! else could write there what they like.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;

use crate::config::ClientHeader;
use crate::units::Networks;

/// Addresses of one `X-Forwarded-For` that are looked at, from the last one on: no chain of proxies
/// is longer.
const HOPS_MAX: usize = 16;

/// `net.trusted_proxies` and `net.client_ip_header`.
#[derive(Clone, Debug)]
pub(crate) struct Proxies {
    pub(crate) trusted: Networks,
    pub(crate) header: ClientHeader,
}

impl Proxies {
    /// The address of the client behind `peer`, as far as it can be believed.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusted.contains(peer) {
            return peer;
        }
        match self.header {
            ClientHeader::ForwardedFor => self.last_stranger(peer, headers),
            ClientHeader::FlyClientIp => {
                // The proxy writes it anew; more than one was not written by it.
                let mut all = headers.get_all("fly-client-ip").iter();
                let one = all.next().filter(|_| all.next().is_none());
                let text = one.and_then(|value| value.to_str().ok());
                text.and_then(address).unwrap_or(peer)
            }
        }
    }

    /// Each proxy adds the address it was asked from at the end, so the last one that is no proxy of
    /// ours is the client; what stands before it the client wrote itself.
    fn last_stranger(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let lines: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .iter()
            .map(|value| value.to_str().unwrap_or("?"))
            .collect();
        let hops = lines.iter().flat_map(|line| line.split(',')).rev();
        let mut nearest = peer;
        for hop in hops.take(HOPS_MAX) {
            let Some(hop) = address(hop) else {
                return nearest;
            };
            nearest = hop;
            if !self.trusted.contains(hop) {
                return nearest;
            }
        }
        nearest
    }
}

/// What the brake on guessing counts as one: an IPv6 customer has a network of 64 bits to choose
/// addresses from.
pub(super) fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// An address, also with a port or in brackets, as some proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let plain = bare.unwrap_or(text).parse::<IpAddr>().ok();
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    Some(plain.or_else(with_port)?.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: ClientHeader, peer: &str, sent: &[(&'static str, &str)], client: &str) {
        let proxies = Proxies {
            trusted: "10.0.0.0/8, fdaa::/16".parse().expect("networks"),
            header,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, value.parse().expect("a header value"));
        }
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let found = proxies.client(address(peer), &headers);
        assert_eq!(found, address(client), "{peer} {sent:?}");
    }

    const FORWARDED: &str = "x-forwarded-for";
    const FLY: &str = "fly-client-ip";

    #[test]
    fn only_trusted_proxies_are_believed() {
        use ClientHeader::{FlyClientIp, ForwardedFor};
        let (liar, proxy, lie, truth) = ("192.0.2.7", "10.0.0.1", "1.1.1.1", "198.51.100.1");
        // Who is no proxy of ours is not asked.
        check(ForwardedFor, liar, &[(FORWARDED, lie)], liar);
        check(FlyClientIp, liar, &[(FLY, lie)], liar);
        // Our proxy adds the true address at the end of what a liar sent.
        let both = format!("{lie}, {truth}");
        check(ForwardedFor, proxy, &[(FORWARDED, &both)], truth);
        let lines = [(FORWARDED, lie), (FORWARDED, truth)];
        check(ForwardedFor, proxy, &lines, truth);
        // The header that the proxy does not write is not looked at, nor is one it wrote once.
        check(ForwardedFor, proxy, &[(FLY, lie)], proxy);
        check(FlyClientIp, proxy, &[(FORWARDED, lie)], proxy);
        check(FlyClientIp, proxy, &[(FLY, lie), (FLY, truth)], proxy);
    }

    #[test]
    fn chains_of_proxies_are_walked_from_the_end() {
        use ClientHeader::{FlyClientIp, ForwardedFor};
        let proxy = "::ffff:10.0.0.1";
        let chain = "9.9.9.9, 198.51.100.1:4711, [fdaa::7]";
        check(ForwardedFor, proxy, &[(FORWARDED, chain)], "198.51.100.1");
        check(
            FlyClientIp,
            "fdaa::3",
            &[(FLY, "2001:db8::5")],
            "2001:db8::5",
        );
        // What cannot be read ends the walk at the nearest address known.
        for (sent, nearest) in [
            ("1.1.1.1, unknown", "10.0.0.1"),
            ("?, 10.0.0.9", "10.0.0.9"),
        ] {
            check(ForwardedFor, proxy, &[(FORWARDED, sent)], nearest);
        }
        check(ForwardedFor, proxy, &[], "10.0.0.1");
    }

    #[test]
    fn a_network_of_one_customer_counts_as_one() {
        let counted = |text: &str| counted_as(text.parse().expect("an address")).to_string();
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(counted("::ffff:192.0.2.7"), "192.0.2.7");
    }
}
