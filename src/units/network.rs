//! Lists of networks as people write them in settings: `"10.0.0.0/8, fd00::/8, 192.0.2.1"`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Networks of one setting: more are a mistake, and each costs a comparison per login.
const NETWORKS_MAX: usize = 64;

/// A list of networks; empty holds nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Networks(Vec<Network>);

/// An address and how many of its first bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u8,
}

impl Networks {
    /// Whether an address is in one of the networks. An IPv4 address in IPv6 clothes
    /// (`::ffff:10.0.0.1`, as sockets bound to `[::]` tell them) is the IPv4 address.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        // All addresses as 128 bits, first bit first: IPv4 in the upper quarter.
        let wide = |address: IpAddr| match address {
            IpAddr::V4(v4) => u128::from(u32::from(v4)) << 96,
            IpAddr::V6(v6) => u128::from(v6),
        };
        let differing = wide(self.address) ^ wide(address);
        self.address.is_ipv4() == address.is_ipv4()
            && differing.leading_zeros() >= u32::from(self.bits)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "{text:?} is not a network; write such as \"10.0.0.0/8\", \"fd00::/8\" or one address"
            )
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most),
            None => Some(most),
        };
        let bits = bits.ok_or_else(bad)?;
        Ok(Network { address, bits })
    }
}

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = text
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty());
        let networks: Vec<Network> = words.map(str::parse).collect::<Result<_, _>>()?;
        if networks.len() > NETWORKS_MAX {
            let n = networks.len();
            return Err(format!(
                "has {n} networks, at most {NETWORKS_MAX} are taken"
            ));
        }
        Ok(Networks(networks))
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Network { address, bits }) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{address}/{bits}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(networks: &str, inside: &[&str], outside: &[&str]) {
        let networks: Networks = networks.parse().expect(networks);
        let contains = |address: &&str| networks.contains(address.parse().expect("an address"));
        assert!(inside.iter().all(contains), "{networks}");
        assert!(!outside.iter().any(contains), "{networks}");
        assert_eq!(networks.to_string().parse(), Ok(networks));
    }

    #[test]
    fn addresses_are_in_their_networks() {
        check("", &[], &["127.0.0.1", "::1", "0.0.0.0"]);
        check("0.0.0.0/0", &["1.2.3.4", "::ffff:1.2.3.4"], &["::1"]);
        check(
            "10.0.0.0/8, 192.168.1.7",
            &["10.255.0.1", "192.168.1.7", "::ffff:10.1.1.1"],
            &["11.0.0.1", "192.168.1.6", "a00::1"],
        );
        check("172.16.0.0/12", &["172.31.255.255"], &["172.32.0.0"]);
        check(
            "fdaa::/16,::1",
            &["fdaa:ffff::1", "::1"],
            &["fdab::", "::2"],
        );
    }

    #[test]
    fn what_is_no_network_is_named() {
        for bad in [
            "10.0.0.0/33",
            "fd00::/129",
            "example.org",
            "10.0.0.0/",
            "/8",
            "10.0.0.0/-1",
        ] {
            let error = bad.parse::<Networks>().expect_err(bad);
            assert!(error.contains(bad), "{error}");
        }
        assert!("10.0.0.1,".repeat(65).parse::<Networks>().is_err());
    }
}
