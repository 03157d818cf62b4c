//! Addresses as people write them.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

/// Where a node is reached: `HOST:PORT`, blanks around it left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(pub String);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let parts = trimmed.rsplit_once(':');
        let Some((_, port)) = parts.filter(|(host, _)| is_host(host)) else {
            return Err(format!("{text:?} is not HOST:PORT"));
        };
        match port.parse::<u16>() {
            Ok(1..) if port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Self(trimmed.to_owned())),
            _ => Err(format!("{text:?} is not HOST:PORT: a port is a number from 1 to 65535")),
        }
    }
}

/// A name or an IPv4 address; an IPv6 address in brackets, whose colons would be taken for the port's.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.contains(':') && inner.bytes().all(|byte| byte.is_ascii_graphic()),
        None => !host.is_empty() && host.chars().all(|char| !char.is_whitespace() && !":[]/@=".contains(char)),
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (text, kept) in [
            ("127.0.0.1:2070", "127.0.0.1:2070"),
            (" 127.0.0.1:2070\t", "127.0.0.1:2070"),
            ("db-1.example.org:1", "db-1.example.org:1"),
            ("[::1]:65535", "[::1]:65535"),
            ("[fe80::1%eth0]:2070", "[fe80::1%eth0]:2070"),
        ] {
            assert_eq!(text.parse(), Ok(Address(kept.to_owned())));
        }
    }

    #[test]
    fn what_cannot_be_one_is_refused() {
        for text in [
            "",
            " ",
            "garbage",
            "host:",
            ":2070",
            "host:0",
            "host:65536",
            "host:+1",
            "host:1x",
            "::1:2070",
            "[::1]",
            "[]:1",
            "[host]:1",
            "a b:1",
            "http://host:1",
            "user@host:1",
            "1=host:1",
        ] {
            let refused = text.parse::<Address>().expect_err(text);
            assert!(refused.contains("HOST:PORT"), "{refused}");
        }
    }
}
