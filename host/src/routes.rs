//! The routes from paths to components, by Spin's rules, without its routes with parameters.
//!
//! Source: <https://spinframework.dev/http-trigger>. A route is exact, or ends in `/...` and matches its own
//! path and all below it. An exact route wins over the others, and a longer one over a shorter. Slashes at
//! the ends of a path do not matter.

use anyhow::{Result, ensure};

/// The routes of an application. Each leads to the index of a component.
#[derive(Default)]
pub struct Routes {
    exact: Vec<(String, usize)>,
    /// Routes that end in `/...`, without it; the longest first.
    below: Vec<(String, usize)>,
}

impl Routes {
    /// Adds a route in the manifest's notation.
    ///
    /// # Errors
    /// A route with parameters or wildcards, or one that is there already.
    pub fn add(&mut self, route: &str, component: usize) -> Result<()> {
        let (routes, path) = match route.strip_suffix("/...") {
            Some(prefix) => (&mut self.below, prefix),
            None => (&mut self.exact, route),
        };
        let path = path.trim_matches('/');
        ensure!(
            !path.split('/').any(|segment| segment.starts_with([':', '*']) || segment == "..."),
            "trigger route {route:?} is not supported: use a path, or a path that ends in /..."
        );
        ensure!(
            !routes.iter().any(|(taken, _)| taken == path),
            "trigger route {route:?} is there twice: remove one of its triggers"
        );
        routes.push((path.to_owned(), component));
        routes.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Ok(())
    }

    /// The index of the component that answers a path. An application has few routes, and comparing a few
    /// strings is faster than hashing one.
    pub fn find(&self, path: &str) -> Option<usize> {
        let path = path.trim_matches('/');
        let is_below = |prefix: &str| {
            let rest = path.strip_prefix(prefix);
            rest.is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/'))
        };
        let exact = self.exact.iter().find(|(route, _)| route == path);
        exact
            .or_else(|| self.below.iter().find(|(prefix, _)| is_below(prefix)))
            .map(|(_, component)| *component)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_route_wins_in_whatever_order_they_are_written() {
        let mut written = ["/...", "/", "/docs/...", "/docs/deep/...", "/docs/deep/exact", "/api"];
        for _ in 0..written.len() {
            written.rotate_left(1);
            let mut routes = Routes::default();
            for (index, route) in written.iter().enumerate() {
                routes.add(route, index).unwrap();
            }
            for (route, paths) in [
                ("/", vec!["/", "//"]),
                ("/api", vec!["/api", "/api/"]),
                ("/docs/...", vec!["/docs", "/docs/x/y"]),
                ("/docs/deep/...", vec!["//docs/deep/", "/docs/deep/exact/not"]),
                ("/docs/deep/exact", vec!["/docs/deep/exact"]),
                ("/...", vec!["/api/x", "/apis", "/docsx", "*"]),
            ] {
                let found = paths.iter().map(|path| written[routes.find(path).unwrap()]);
                assert!(found.eq(paths.iter().map(|_| route)), "{route}: {paths:?}");
            }
        }
    }

    #[test]
    fn what_is_not_supported_and_what_is_there_twice_is_refused_by_name() {
        let mut routes = Routes::default();
        routes.add("/taken", 0).unwrap();
        routes.add("/taken/below/...", 0).unwrap();
        assert_eq!((routes.find("/taken/below"), routes.find("/other")), (Some(0), None));
        for route in ["/users/:id", "/*", "/a/.../b", "/taken/", "/taken/below/..."] {
            let error = routes.add(route, 1).unwrap_err().to_string();
            assert!(error.contains(route), "{error}");
        }
    }
}
