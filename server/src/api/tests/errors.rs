//! Everything that is refused, and how.

use super::*;

/// The reply is a problem document of this status, with a detail that has `part` in it.
#[track_caller]
fn check_problem(reply: &Reply, status: u16, part: &str) {
    assert_eq!(reply.status.as_u16(), status, "{}", reply.body);
    assert_eq!(
        reply.header(header::CONTENT_TYPE),
        Some("application/problem+json")
    );
    let json = reply.json();
    assert_eq!(json["status"], status);
    assert!(text(&json["type"]).starts_with("urn:whosthere:problem:"));
    assert!(!text(&json["title"]).is_empty());
    assert!(
        text(&json["detail"]).contains(part),
        "{part:?} is not in: {}",
        reply.body
    );
}

#[tokio::test]
async fn no_key_and_a_wrong_key_get_the_same_answer() {
    let api = TestApi::new();
    let mut replies = Vec::new();
    let almost = &KEY_A[..KEY_A.len() - 1];
    for key in [
        None,
        Some(""),
        Some("sk_"),
        Some(almost),
        Some("a"),
        Some("Bearer"),
    ] {
        replies.push(api.send(request("GET", LIST, key)).await);
    }
    let mut basic = request("GET", LIST, None);
    let value = format!("Basic {KEY_A}").parse().unwrap();
    basic.headers_mut().insert(header::AUTHORIZATION, value);
    replies.push(api.send(basic).await);
    for reply in &replies {
        check_problem(reply, 401, "X-Secret-Key");
        assert_eq!(reply.header(header::WWW_AUTHENTICATE), Some("Bearer"));
        assert_eq!(reply, &replies[0]);
    }
}

#[tokio::test]
async fn a_wrong_key_is_told_nothing_about_the_rest_of_the_request() {
    let api = TestApi::new();
    for path in [
        format!("{LIST}?topic=a/%23/b"),
        format!("{LIST}/%FF"),
        format!("{LIST}/alice"),
    ] {
        check_problem(&api.send(request("GET", &path, None)).await, 401, "");
    }
}

#[tokio::test]
async fn both_headers_carry_a_key() {
    let api = TestApi::new();
    let mut bearer = request("GET", LIST, None);
    let value = format!("Bearer {KEY_B}").parse().unwrap();
    bearer.headers_mut().insert(header::AUTHORIZATION, value);
    assert_eq!(api.send(bearer).await.status, StatusCode::OK);
    assert_eq!(api.get(LIST).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_invalid_filter_is_told_why() {
    let api = TestApi::new();
    let long = "x".repeat(60_000);
    for (topic, part) in [
        ("a/%23/b", "not the last level"),
        ("a%2B", "wildcard"),
        ("a+", "%20"),
        ("a%23", "wildcard"),
        ("", "empty"),
        ("a%00b", "null"),
        ("$share/g", "$share"),
        ("$share//a", "$share"),
    ] {
        let reply = api.get(&format!("{LIST}?topic={topic}")).await;
        check_problem(&reply, 400, part);
        assert_eq!(reply.json()["type"], "urn:whosthere:problem:bad-filter");
    }
    assert_eq!(
        api.get(&format!("{LIST}?topic")).await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        api.get(&format!("{LIST}?topic={long}")).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_query_that_cannot_be_read_is_a_bad_request() {
    let api = TestApi::new();
    for query in ["topic=%FF", "topic=%", "topic=a&topic=b", "limit=%zz"] {
        check_problem(&api.get(&format!("{LIST}?{query}")).await, 400, "");
    }
    assert_eq!(
        api.get(&format!("{LIST}?other=%FF&&=&x")).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_limit_out_of_range_is_told_the_range() {
    let api = TestApi::with_http("page_rows_max = 50");
    for limit in [
        "0",
        "51",
        "-1",
        "+1",
        "1.5",
        "ten",
        "",
        "99999999999999999999",
    ] {
        let reply = api.get(&format!("{LIST}?limit={limit}")).await;
        check_problem(&reply, 400, "1 to 50");
    }
    for limit in ["1", "50"] {
        assert_eq!(
            api.get(&format!("{LIST}?limit={limit}")).await.status,
            StatusCode::OK
        );
    }
}

#[tokio::test]
async fn a_cursor_from_before_a_restart_is_told_apart_from_a_wrong_one() {
    let before = TestApi::new();
    for client in ["1", "2"] {
        before.online("alice", client, &[]);
    }
    let page = before.get(&format!("{LIST}?limit=1")).await;
    let cursor = text(&page.json()["next_cursor"]);
    let after = TestApi::new();
    check_problem(
        &after.get(&format!("{LIST}?cursor={cursor}")).await,
        400,
        "restart",
    );
    for wrong in ["", "x", &cursor[1..], &format!("{cursor}0"), "%F0%9F%A6%80"] {
        check_problem(
            &before.get(&format!("{LIST}?cursor={wrong}")).await,
            400,
            "next_cursor",
        );
    }
}

#[tokio::test]
async fn other_paths_are_not_found() {
    let api = TestApi::new();
    for path in [
        "/",
        "/v2",
        "/v1/utilities/presence",
        &format!("{LIST}/"),
        &format!("{LIST}/a/b"),
    ] {
        check_problem(&api.get(path).await, 404, "nothing");
    }
}

#[tokio::test]
async fn other_methods_are_not_allowed_and_told_which_are() {
    let api = TestApi::new();
    for path in [
        LIST,
        "/v2/utilities/presence/alice",
        "/health/live",
        "/metrics",
    ] {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
            let reply = api.send(request(method, path, Some(KEY_A))).await;
            check_problem(&reply, 405, "Allow");
            assert_eq!(
                reply.header(header::ALLOW),
                Some("GET,HEAD"),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn large_bodies_are_refused_whether_announced_or_not() {
    let api = TestApi::with_http("body_bytes_max = 10");
    let with_body = |body: Body| {
        let request = Request::builder().uri(LIST).header("X-Secret-Key", KEY_A);
        request.body(body).unwrap()
    };
    check_problem(
        &api.send(with_body(Body::from("12345678901"))).await,
        413,
        "10 bytes",
    );
    let unannounced = Body::new(Dribble(11));
    check_problem(&api.send(with_body(unannounced)).await, 413, "10 bytes");
    for body in [Body::from("1234567890"), Body::new(Dribble(10))] {
        assert_eq!(api.send(with_body(body)).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn long_listings_beyond_the_limit_are_told_to_come_back() {
    let api = TestApi::with_http("listings_max = 2");
    for at in 0..600 {
        api.online(&format!("u{at}"), &format!("c{at}"), &[]);
    }
    let service = TowerToHyperService::new(router(Arc::clone(&api.state)));
    let unread = || service.call(request("GET", LIST, Some(KEY_A)));
    let (first, second) = (unread().await.unwrap(), unread().await.unwrap());
    let refused = api.get(LIST).await;
    check_problem(&refused, 429, "limit");
    assert_eq!(refused.header(header::RETRY_AFTER), Some("1"));
    let short = api.get(&format!("{LIST}?limit=500")).await;
    assert_eq!(short.status, StatusCode::OK);
    drop(first);
    assert_eq!(api.get(LIST).await.status, StatusCode::OK);
    drop(second);
    assert_eq!(api.state.metrics.http.listings.get(), 0);
}

#[tokio::test]
async fn a_server_that_is_starting_or_stopping_says_so_and_still_lives() {
    let api = TestApi::new();
    for (phase, word) in [(Phase::Starting, "starting"), (Phase::Stopping, "stopping")] {
        api.state.readiness.set(phase);
        for path in [LIST, "/v2/utilities/presence/alice", "/health/ready"] {
            let reply = api.get(path).await;
            check_problem(&reply, 503, word);
            assert_eq!(reply.header(header::RETRY_AFTER), Some("1"));
        }
        for path in ["/health/live", "/metrics"] {
            assert_eq!(
                api.send(request("GET", path, None)).await.status,
                StatusCode::OK
            );
        }
    }
    api.state.readiness.set(Phase::Ready);
    assert_eq!(api.get("/health/ready").await.status, StatusCode::OK);
}

#[tokio::test]
async fn metrics_count_who_is_online_and_what_was_answered() {
    let api = TestApi::new();
    api.online("alice", "1", &["t", "u"]);
    api.online("alice", "2", &[]);
    api.get("/nowhere").await;
    let reply = api.send(request("GET", "/metrics", None)).await;
    assert!(
        reply
            .header(header::CONTENT_TYPE)
            .unwrap()
            .starts_with("application/openmetrics")
    );
    for line in [
        "whosthere_sessions_online 2",
        "whosthere_users_online 1",
        "whosthere_subscriptions 2",
        "whosthere_http_requests_total{status=\"404\"} 1",
        "# EOF",
    ] {
        assert!(
            reply.body.lines().any(|found| found == line),
            "{line} is not in {}",
            reply.body
        );
    }
}

/// A body of so many bytes, one at a time, without a known length.
struct Dribble(usize);

impl axum::body::HttpBody for Dribble {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        let frame = (self.0 > 0).then(|| Ok(hyper::body::Frame::data("x".into())));
        self.0 = self.0.saturating_sub(1);
        std::task::Poll::Ready(frame)
    }
}
