//! The address of a page as data: every link of a page is its own address with something changed,
//! so that time range and scope follow the reader everywhere.

use std::fmt;

/// A path and its parameters in order. Prints percent-encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageUrl {
    pub(crate) path: String,
    params: Vec<(String, String)>,
}

/// What follows the reader from page to page.
pub(crate) const CARRIED: [&str; 5] = ["start", "end", "env", "svc", "refresh"];

impl PageUrl {
    /// `query` is the raw query string, without `?`.
    pub(crate) fn new(path: &str, query: &str) -> PageUrl {
        let params = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        PageUrl {
            path: path.to_owned(),
            params,
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.params.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Every parameter but those named: the hidden fields of a form that sets the named ones.
    pub(crate) fn fields_but<'a>(
        &'a self,
        names: &'a [&'a str],
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.params
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .filter(move |(key, value)| !names.contains(key) && !value.is_empty())
    }

    /// The same page with `name` set, in its old place if it had one.
    #[must_use]
    pub(crate) fn with(&self, name: &str, value: &str) -> PageUrl {
        let mut url = self.clone();
        match url.params.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => value.clone_into(old),
            None => url.params.push((name.to_owned(), value.to_owned())),
        }
        url
    }

    /// The same page with one more value under `name`.
    #[must_use]
    pub(crate) fn and(&self, name: &str, value: &str) -> PageUrl {
        let mut url = self.clone();
        url.params.push((name.to_owned(), value.to_owned()));
        url
    }

    #[must_use]
    pub(crate) fn without(&self, name: &str) -> PageUrl {
        let mut url = self.clone();
        url.params.retain(|(key, _)| key != name);
        url
    }

    /// The same parameters under another path: a part of this page.
    #[must_use]
    pub(crate) fn at(&self, path: &str) -> PageUrl {
        let mut url = self.clone();
        path.clone_into(&mut url.path);
        url
    }

    /// Another page with this one's time range and scope.
    #[must_use]
    pub(crate) fn carry_to(&self, path: &str) -> PageUrl {
        let carried = |(key, _): &&(String, String)| CARRIED.contains(&key.as_str());
        let params = self.params.iter().filter(carried).cloned().collect();
        PageUrl {
            path: path.to_owned(),
            params,
        }
    }
}

impl fmt::Display for PageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (key, value) in self.params.iter().filter(|(_, value)| !value.is_empty()) {
            query.append_pair(key, value);
        }
        match query.finish() {
            query if query.is_empty() => Ok(()),
            query => write!(f, "?{query}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PageUrl;

    #[test]
    fn links_change_one_thing_and_carry_range_and_scope() {
        let url = PageUrl::new("/logs", "query=a%26b+c&start=1h&svc=shop&cursor=");
        assert_eq!(url.get("query"), Some("a&b c"));
        assert_eq!(url.get("cursor"), None);
        assert_eq!(
            url.with("start", "6h").to_string(),
            "/logs?query=a%26b+c&start=6h&svc=shop"
        );
        assert_eq!(url.without("query").to_string(), "/logs?start=1h&svc=shop");
        assert_eq!(
            url.carry_to("/traces").to_string(),
            "/traces?start=1h&svc=shop"
        );
        assert_eq!(PageUrl::new("/", "").to_string(), "/");
        let kept: Vec<_> = url.fields_but(&["start", "end"]).collect();
        assert_eq!(kept, [("query", "a&b c"), ("svc", "shop")]);
    }
}
