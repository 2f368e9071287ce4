//! Every answer a receiver can give, down to none.

use std::time::Instant;

use webhook::outcome::{DownReason, Outcome};

use crate::{
    DELIVERED, deliver, endpoint, hasty,
    receiver::{Act, Receiver, ok, status},
    settings,
};

async fn outcome_of(act: Act) -> Outcome {
    let receiver = Receiver::start(vec![act]).await;
    deliver(&endpoint(settings(), receiver.port)).await
}

fn down(status: u16, retry_after_ms: Option<u64>) -> Outcome {
    Outcome::Down {
        why: DownReason::Status(status),
        retry_after_ms,
    }
}

#[tokio::test]
async fn a_status_is_the_outcome() {
    let rows = [
        (ok(), DELIVERED),
        (status(202, ""), Outcome::Delivered { status: 202 }),
        (status(404, ""), Outcome::Refused { status: 404 }),
        (status(410, ""), Outcome::Gone),
        (status(408, ""), down(408, None)),
        (status(429, "retry-after: 7\r\n"), down(429, Some(7_000))),
        (status(500, ""), down(500, None)),
        (
            status(503, "Retry-After: Tue, 29 Oct 2024 09:00:30 GMT\r\n"),
            down(503, Some(30_000)),
        ),
        (status(503, "retry-after: soon\r\n"), down(503, None)),
    ];
    for (act, outcome) in rows {
        assert_eq!(outcome_of(act.clone()).await, outcome, "{act:?}");
    }
}

#[tokio::test]
async fn an_answer_without_a_body_is_complete() {
    let act = Act::Answer("HTTP/1.1 204 No Content\r\n\r\n".to_owned());
    assert_eq!(outcome_of(act).await, Outcome::Delivered { status: 204 });
}

#[tokio::test]
async fn an_early_hint_is_not_the_answer() {
    let act = Act::Answer(format!(
        "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n{}",
        crate::receiver::OK
    ));
    assert_eq!(outcome_of(act).await, DELIVERED);
}

#[tokio::test]
async fn a_redirect_is_a_refusal_and_is_not_followed() {
    let elsewhere = Receiver::start(vec![ok()]).await;
    let location = format!("location: http://127.0.0.1:{}/\r\n", elsewhere.port);
    for code in [301, 302, 303, 307, 308] {
        let outcome = outcome_of(status(code, &location)).await;
        assert_eq!(outcome, Outcome::Refused { status: code });
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_count() {
    for text in [
        "",
        "HTTP/1.1 2",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ] {
        let outcome = outcome_of(Act::AnswerAndClose(text.to_owned())).await;
        let incomplete = matches!(
            outcome,
            Outcome::Down {
                why: DownReason::Incomplete(_),
                retry_after_ms: None
            }
        );
        assert!(incomplete, "{text:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let endless = |head: &str, piece: &str| {
        let head = format!("HTTP/1.1 200 OK\r\n{head}\r\n");
        Act::Endless(head, piece.to_owned())
    };
    let page = "x".repeat(4_096);
    for act in [
        endless("", &page),
        endless("content-length: 999999999999\r\n", &page),
        endless(
            "transfer-encoding: chunked\r\n",
            &format!("1000\r\n{page}\r\n"),
        ),
    ] {
        assert_eq!(outcome_of(act).await, DELIVERED);
    }
}

#[tokio::test]
async fn an_endless_head_is_cut_off() {
    let act = Act::Endless(
        "HTTP/1.1 200 OK\r\n".to_owned(),
        "x: yyyyyyyyyyyyyyyyyyy\r\n".repeat(50),
    );
    let outcome = outcome_of(act).await;
    let cut = matches!(
        &outcome,
        Outcome::Down {
            why: DownReason::Incomplete(_),
            ..
        }
    );
    assert!(cut, "{outcome:?}");
}

#[tokio::test]
async fn the_deadline_holds_from_the_first_to_the_last_byte() {
    for text in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok",
        "HTTP/1.1 404 Not Found\r\ncontent-length: 10\r\n\r\nok",
    ] {
        let receiver = Receiver::start(vec![Act::Hang(text.to_owned())]).await;
        let started = Instant::now();
        let outcome = deliver(&endpoint(hasty(), receiver.port)).await;
        assert_eq!(outcome, DownReason::Timeout.into(), "{text:?}");
        assert!(started.elapsed() < settings().deadline, "{text:?}");
    }
}
