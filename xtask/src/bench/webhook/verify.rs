//! Whether what came is what was promised: every event once, signed, in order.

use std::collections::{HashMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use webhook::signature::standard::{
    ID_HEADER, SIGNATURE_HEADER, Secret, StandardHeaders, StandardKeys, TIMESTAMP_HEADER,
};

use super::super::receiver::Delivery;
use super::super::whosthere::WEBHOOK_SECRET;

/// A backlog may have waited for so long between signing and now.
const AGE_SECS_MAX: u64 = 3_600;

/// Fails unless `deliveries` are `count` different events, each signed, each user's in order.
pub(super) fn all_is_well(deliveries: &[Delivery], count: usize) -> Result<()> {
    let keys = StandardKeys::new(vec![Secret::parse(WEBHOOK_SECRET)?])?;
    let now_secs = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut ids = HashSet::new();
    let mut last_seq = HashMap::new();
    for delivery in deliveries {
        let (id, timestamp) = (
            delivery.header(ID_HEADER)?,
            delivery.header(TIMESTAMP_HEADER)?,
        );
        let signed = StandardHeaders {
            id: &id,
            timestamp: &timestamp,
            signature: &delivery.header(SIGNATURE_HEADER)?,
        };
        keys.verify(&signed, delivery.body(), now_secs, AGE_SECS_MAX)?;
        let event = delivery.event()?;
        let user = event["userId"].as_str().context("no user")?.to_owned();
        let seq = event["seq"].as_u64().context("no number")?;
        let last = last_seq.insert(user, seq).unwrap_or(0);
        ensure!(seq == last + 1, "event {seq} of a user came after {last}");
        ensure!(ids.insert(id), "an event came twice");
    }
    ensure!(ids.len() == count, "{} of {count} events came", ids.len());
    Ok(())
}
