//! Rules on the PROXY protocol: where it can be spoken, and never by just anybody.

use super::Problem;
use crate::config::{Config, ProxyConfig};

pub(super) fn check(config: &Config) -> Vec<Problem> {
    let proxy = &config.proxy_protocol;
    let mut problems = Vec::new();
    let is_known = |door: &String| ProxyConfig::DOORS.contains(&door.as_str());
    if !proxy.doors.iter().all(is_known) {
        let why = format!(
            "names an unknown door; expected {}",
            ProxyConfig::DOORS.join(", ")
        );
        problems.push(Problem::new("proxy_protocol.doors", why));
    }
    if !proxy.doors.is_empty() && proxy.trusted.is_empty() {
        problems.push(Problem::new(
            "proxy_protocol.trusted",
            "is empty; list the load balancers' addresses, since whoever may send a header can \
             claim any address",
        ));
    }
    problems
}
