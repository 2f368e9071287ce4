//! Load balancers before the API: whom they forward is who is slowed, and strangers get nothing.

use std::io::Write;

use super::sockets::{Served, check_status, read_to_end};
use super::{KEY_A, LIST};

const ALICE: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n";
const BOB: &[u8] = b"PROXY TCP4 192.0.2.8 192.0.2.1 4711 443\r\n";
const BALANCER: Option<&str> = Some("127.0.0.0/8");

fn get(key: &str) -> Vec<u8> {
    format!("GET {LIST} HTTP/1.1\r\nHost: h\r\nX-Secret-Key: {key}\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

fn wait_until_refused(served: &Served, times: u64) {
    served.wait_until("it is counted", |state| {
        state.metrics.http.proxy_refused.get() == times
    });
}

#[test]
fn a_request_behind_a_header_is_answered_however_it_is_cut() {
    let served = Served::behind(BALANCER, "");
    let words = [ALICE, &get(KEY_A)].concat();
    check_status(&served.exchange(&words), 200);
    for cut in [1, ALICE.len() - 1, ALICE.len(), ALICE.len() + 1] {
        let mut stream = served.dial();
        stream.set_nodelay(true).unwrap();
        stream.write_all(&words[..cut]).unwrap();
        served.wait_until("it is open", |state| {
            state.metrics.http.connections.get() > 0
        });
        stream.write_all(&words[cut..]).unwrap();
        check_status(&read_to_end(&mut stream), 200);
    }
}

#[test]
fn whoever_guesses_keys_is_slowed_and_not_the_balancer() {
    let served = Served::behind(BALANCER, "");
    let ask = |who: &[u8], key: &str| served.exchange(&[who, &get(key)].concat());
    let guess = "sk_test_00000000000000000000000000000000";
    let slowed = (0..100).position(|_| ask(ALICE, guess).starts_with("HTTP/1.1 429 "));
    assert!(slowed.is_some(), "guessing goes on for ever");
    check_status(&ask(ALICE, KEY_A), 429);
    check_status(&ask(BOB, KEY_A), 200);
}

#[test]
fn a_balancer_that_speaks_for_itself_is_the_caller() {
    let served = Served::behind(BALANCER, "");
    let words = [&b"PROXY UNKNOWN\r\n"[..], &get(KEY_A)].concat();
    check_status(&served.exchange(&words), 200);
}

#[test]
fn without_a_right_header_there_is_no_connection() {
    let served = Served::behind(BALANCER, "");
    let wrong: [&[u8]; 3] = [&get(KEY_A), b"PROXY TCP4 a b c d\r\n", &[b'P'; 3000]];
    for (number, words) in wrong.into_iter().enumerate() {
        assert_eq!(served.exchange(words), "");
        wait_until_refused(&served, 1 + number as u64);
    }
}

#[test]
fn half_a_header_is_closed_in_time() {
    let served = Served::behind(BALANCER, "header_timeout_secs = 1");
    assert_eq!(served.exchange(&ALICE[..20]), "");
    served.wait_until("it is counted", |state| {
        state.metrics.http.stalled.get() == 1
    });
}

#[test]
fn a_stranger_is_closed_at_once() {
    let served = Served::behind(Some("192.0.2.0/24"), "");
    assert_eq!(served.exchange(&[ALICE, &get(KEY_A)].concat()), "");
    wait_until_refused(&served, 1);
}

#[test]
fn elsewhere_a_header_is_garbage() {
    let served = Served::behind(None, "");
    check_status(&served.exchange(&[ALICE, &get(KEY_A)].concat()), 400);
}
