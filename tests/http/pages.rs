//! The console, the API reference and the pages of problems.

use std::collections::BTreeSet;
use std::io::Read;

use flate2::read::GzDecoder;
use sekali_common::problems::Kind;
use sekali_harness::Server;
use ureq::http::Response;

const PAGES: [&str; 6] = ["/", "/receivers", "/console/consumers", "/docs", "/docs/", "/problems/busy"];

/// The paths that pages refer to and the inbox answers.
const OF_THE_INBOX: [&str; 5] = ["/metrics", "/stats", "/hooks", "/consumers", "/events?limit=100"];

/// Sends a GET with these headers. The body of the answer is not decoded.
fn fetch(server: &Server, path: &str, headers: &[(&str, &str)]) -> Response<Vec<u8>> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.get(server.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.call().unwrap().map(|mut body| body.read_to_vec().unwrap())
}

/// The values of the `src` and `href` attributes of a page.
fn references(html: &str) -> BTreeSet<&str> {
    let values = ["src=\"", "href=\""].map(|attribute| html.split(attribute).skip(1));
    values.into_iter().flatten().map(|rest| rest.split('"').next().unwrap()).collect()
}

/// The modules of a page of the console: its first one and those that it imports, and so on.
fn modules(server: &Server, first: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![first.to_owned()];
    while let Some(module) = open.pop() {
        let path = format!("/docs/console/{module}");
        let text = server.get(&path).text;
        let imports = text.split('"').filter_map(|part| part.strip_prefix("./"));
        if found.insert(path) {
            open.extend(imports.map(str::to_owned));
        }
    }
    found
}

/// The paths of the pages and of everything that they refer to, the modules of the console among it.
fn whole_site(server: &Server) -> BTreeSet<String> {
    let mut site = modules(server, "main.js");
    site.append(&mut modules(server, "receivers.js"));
    site.append(&mut modules(server, "consumers.js"));
    for page in PAGES {
        let html = server.get(page).text;
        let referred = references(&html).into_iter().filter(|path| !OF_THE_INBOX.contains(path));
        site.extend(referred.chain([page]).map(str::to_owned));
    }
    site
}

#[test]
fn every_page_and_everything_it_refers_to_exists_with_its_type_and_length() {
    let server = Server::start();
    let site = whole_site(&server);
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/receivers", "text/html; charset=utf-8"),
        ("/console/consumers", "text/html; charset=utf-8"),
        ("/docs", "text/html; charset=utf-8"),
        ("/openapi.json", "application/json"),
        ("/docs/console/main.js", "text/javascript; charset=utf-8"),
        ("/docs/console/events.js", "text/javascript; charset=utf-8"),
        ("/docs/console/console.css", "text/css; charset=utf-8"),
        ("/docs/uplot.js", "text/javascript; charset=utf-8"),
        ("/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ("/docs/swagger-ui.css", "text/css; charset=utf-8"),
        ("/docs/icon.svg", "image/svg+xml"),
    ] {
        assert!(site.contains(path), "{path} is not in {site:?}");
        assert_eq!(server.get(path).header("content-type"), Some(content_type), "{path}");
    }
    for path in &site {
        let answer = fetch(&server, path, &[]);
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["content-length"], answer.body().len().to_string(), "{path}");
        let is_page =
            answer.headers()["content-type"] == "text/html; charset=utf-8" || path == "/openapi.json";
        // A part of the console must not be older than the others.
        let is_current = is_page || path.starts_with("/docs/console/");
        let keep = if is_current { "no-cache" } else { "public, max-age=3600" };
        assert_eq!(answer.headers()["cache-control"], keep, "{path}");
    }
    assert_eq!(server.get("/openapi.json").json()["openapi"].as_str().map(|v| &v[..3]), Some("3.1"));
}

#[test]
fn nothing_comes_from_another_host() {
    let server = Server::start();
    for path in whole_site(&server) {
        let answer = server.get(&path);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("http"), "{path}: {policy}");
        for reference in references(&answer.text).iter().filter(|_| answer.text.starts_with("<!doctype")) {
            assert!(reference.starts_with('/') && !reference.starts_with("//"), "{path}: {reference}");
        }
        for url in answer.text.split("url(").skip(1).filter(|_| path.ends_with(".css")) {
            assert!(url.trim_start_matches('"').starts_with("data:"), "{path}: {}", &url[..40]);
        }
    }
}

#[test]
fn the_console_with_its_chart_is_at_most_200_kilobytes_on_the_way() {
    let server = Server::start();
    let html = server.get("/").text;
    let mut paths = modules(&server, "main.js");
    paths.extend(references(&html).into_iter().filter(|path| path.starts_with("/docs/")).map(str::to_owned));
    paths.insert("/".into());
    let sizes = paths.iter().map(|path| fetch(&server, path, &[("accept-encoding", "gzip")]).body().len());
    assert!((80_000..200_000).contains(&sizes.sum::<usize>()), "of {paths:?}");
}

#[test]
fn the_plain_and_the_compressed_form_have_the_same_bytes_and_different_tags() {
    let server = Server::start();
    for (path, ratio) in
        [("/docs/swagger-ui-bundle.js", 3), ("/docs/swagger-ui.css", 3), ("/docs/uplot.js", 2)]
    {
        let plain = fetch(&server, path, &[("accept-encoding", "identity")]);
        let gzipped = fetch(&server, path, &[("accept-encoding", "br, gzip;q=0.8")]);
        assert!(!plain.headers().contains_key("content-encoding"));
        assert_eq!(gzipped.headers()["content-encoding"], "gzip");
        let mut inflated = Vec::new();
        GzDecoder::new(gzipped.body().as_slice()).read_to_end(&mut inflated).unwrap();
        assert!(inflated == *plain.body(), "{path}");
        assert!(gzipped.body().len() * ratio < inflated.len(), "{path}");
        assert_ne!(plain.headers()["etag"], gzipped.headers()["etag"]);
        for answer in [plain, gzipped] {
            assert_eq!(answer.headers()["vary"], "accept-encoding");
        }
    }
}

#[test]
fn a_client_that_has_the_resource_gets_304_without_a_body() {
    let server = Server::start();
    for path in whole_site(&server) {
        let tag = server.get(&path).header("etag").unwrap().to_owned();
        assert!(tag.starts_with('"'), "{path}: {tag}");
        for known in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
            let answer = fetch(&server, &path, &[("if-none-match", &known)]);
            assert_eq!((answer.status().as_u16(), answer.body().len()), (304, 0), "{path}");
            assert_eq!(answer.headers()["etag"], tag, "{path}");
        }
        assert_eq!(fetch(&server, &path, &[("if-none-match", "\"other\"")]).status(), 200, "{path}");
    }
}

#[test]
fn head_is_get_without_the_body() {
    let server = Server::start();
    for path in whole_site(&server) {
        let (head, get) = (server.head(&path), server.get(&path));
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
        for name in ["content-type", "content-length", "etag", "cache-control", "content-security-policy"] {
            assert_eq!(head.header(name), get.header(name), "{path}: {name}");
        }
    }
}

#[test]
fn another_method_is_405_and_the_allowed_ones_are_listed() {
    let server = Server::start();
    for (method, path) in
        [("POST", "/"), ("PUT", "/docs"), ("DELETE", "/openapi.json"), ("PATCH", "/problems/busy")]
    {
        let answer = server.send(method, path, &[], b"");
        answer.problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"), "{method} {path}");
    }
}

#[test]
fn every_answer_has_its_security_headers() {
    let server = Server::start();
    let mut paths = whole_site(&server);
    paths.extend(["/docs/nothing".to_owned(), "/problems/nothing".to_owned()]);
    for path in paths {
        for headers in [[].as_slice(), &[("if-none-match", "*")]] {
            let answer = server.send("GET", &path, headers, b"");
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "no-referrer"),
                ("x-frame-options", "DENY"),
            ] {
                assert_eq!(answer.header(name), Some(value), "{path}");
            }
            let policy = answer.header("content-security-policy").unwrap();
            assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
            let is_loose = policy.contains("unsafe") || policy.contains('*');
            assert_eq!(is_loose, path.trim_end_matches('/') == "/docs", "{path}: {policy}");
        }
    }
}

#[test]
fn every_problem_has_a_page_that_explains_it() {
    let server = Server::start();
    for Kind { name, title, .. } in sekali_common::problems::ALL {
        let answer = server.get(&format!("/problems/{name}"));
        assert_eq!(answer.status, 200, "{name}");
        for part in ["What it means", "What was stored", "What to do", title, &format!("/problems/{name}")] {
            assert!(answer.text.contains(part), "{name} lacks {part:?}");
        }
    }
    for path in ["/problems", "/problems/", "/problems/nothing", "/docs/nothing", "/docs/../spin.toml"] {
        server.get(path).problem(404, "not-found");
    }
}

#[test]
fn the_type_of_a_problem_from_the_inbox_leads_to_its_page() {
    let server = Server::start();
    for answer in
        [server.publish_as("text/plain", ""), server.publish_as("application/json", "{"), server.get("/no")]
    {
        let problem = answer.json();
        let page = server.get(problem["type"].as_str().unwrap());
        assert_eq!(page.status, 200);
        assert!(page.text.contains(&format!("{} ", problem["status"])), "{problem}");
        assert!(page.text.contains(&format!("<h1>{}</h1>", problem["title"].as_str().unwrap())), "{problem}");
    }
}
