//! The static files inside the binary: looked up by content-hashed address, answered in the
//! smallest encoding the browser takes. It must never read the file system.

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// One file of `web/static` with its variants, all made by `build.rs`.
pub(crate) struct Asset {
    pub(crate) name: &'static str,
    /// `/a/STEM-HASH.EXT`; a changed file has a changed address, so it may be cached for ever.
    pub(crate) address: &'static str,
    content_type: &'static str,
    hash: &'static str,
    raw: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// A year, the longest that caches honour.
const CACHE_FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The address of a file of `web/static`, for templates: `asset("app.css")`.
pub(crate) fn asset(name: &str) -> &'static str {
    let at = ASSETS.binary_search_by(|asset| asset.name.cmp(name));
    ASSETS[at.expect("a test holds every asset name in the templates to web/static")].address
}

/// `GET /a/{file}`.
pub(crate) async fn serve(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS
        .iter()
        .find(|asset| asset.address["/a/".len()..] == file)
    else {
        return (StatusCode::NOT_FOUND, "no such file; reload the page\n").into_response();
    };
    let accepted = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok());
    let (bytes, encoding) = asset.variant(accepted.unwrap_or_default());
    // The variants differ in bytes, so each has its own tag (RFC 9110 8.8.3.3).
    let etag = format!("\"{}{}\"", asset.hash, encoding.unwrap_or_default());
    let fixed = [
        (header::CACHE_CONTROL, CACHE_FOR_EVER),
        (header::VARY, "accept-encoding"),
        (header::CONTENT_TYPE, asset.content_type),
    ];
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let mut response = match known.is_some_and(|tags| tags.contains(&etag)) {
        true => (StatusCode::NOT_MODIFIED, fixed).into_response(),
        false => (fixed, bytes).into_response(),
    };
    let etag = etag
        .parse()
        .expect("a hash and an encoding name are header text");
    response.headers_mut().insert(header::ETAG, etag);
    if let Some(encoding) = encoding {
        let encoding = header::HeaderValue::from_static(encoding);
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, encoding);
    }
    response
}

impl Asset {
    /// The first of brotli, gzip, identity that `accepted` (the `Accept-Encoding` header) allows.
    fn variant(&self, accepted: &str) -> (&'static [u8], Option<&'static str>) {
        if let (Some(bytes), true) = (self.brotli, accepts(accepted, "br")) {
            return (bytes, Some("br"));
        }
        if let (Some(bytes), true) = (self.gzip, accepts(accepted, "gzip")) {
            return (bytes, Some("gzip"));
        }
        (self.raw, None)
    }
}

fn accepts(header: &str, encoding: &str) -> bool {
    header.split(',').any(|item| {
        let (name, weight) = item.split_once(';').unwrap_or((item, ""));
        let refused = matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
        name.trim().eq_ignore_ascii_case(encoding) && !refused
    })
}

#[cfg(test)]
#[path = "../../web/shorten.rs"]
mod shorten;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use sha2::{Digest, Sha256};

    use super::{ASSETS, Asset, accepts, asset};

    fn find(name: &str) -> &'static Asset {
        ASSETS
            .iter()
            .find(|asset| asset.name == name)
            .expect("the asset is in web/static")
    }

    #[test]
    fn encodings_are_chosen_as_the_browser_allows() {
        let css = find("app.css");
        assert_eq!(css.variant("gzip, deflate, br, zstd").1, Some("br"));
        assert_eq!(css.variant("gzip;q=1.0, br;q=0").1, Some("gzip"));
        assert_eq!(css.variant("").1, None);
        assert_eq!(
            find("plex-sans-400.woff2").variant("br").1,
            None,
            "woff2 is brotli inside"
        );
        assert!(!accepts("brotli", "br"));
    }

    #[test]
    fn variants_hold_the_same_bytes() {
        use std::io::Read as _;
        for asset in ASSETS {
            if let Some(gzip) = asset.gzip {
                let mut out = Vec::new();
                flate2::read::GzDecoder::new(gzip)
                    .read_to_end(&mut out)
                    .expect("gzip");
                assert_eq!(out, asset.raw, "{}", asset.name);
            }
        }
    }

    fn templates(dir: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for entry in fs::read_dir(dir).expect("a folder of templates") {
            let path = entry.expect("entry").path();
            match path.is_dir() {
                true => texts.extend(templates(path.to_str().expect("a path in UTF-8"))),
                false => texts.push(fs::read_to_string(&path).expect("a template is text")),
            }
        }
        texts
    }

    /// The Content-Security-Policy blocks inline style and handlers; no page may call another host.
    #[test]
    fn templates_hold_nothing_that_the_policy_blocks() {
        for text in templates("web/templates") {
            for banned in [
                " style=",
                "<style",
                " onclick=",
                " onload=",
                "javascript:",
                "src=\"http",
                "href=\"http",
            ] {
                assert!(!text.contains(banned), "{banned} in:\n{text}");
            }
        }
    }

    #[test]
    fn what_is_served_is_short_and_means_the_same() {
        let css = "/* why */\n.a > .b , .c {\n  color : red;\n  margin: 0 0.5em 10.5px;\n}\n\n@media (max-width: 9px){\n  .d{opacity:0.2;}\n}";
        let short =
            ".a > .b,.c{color :red;margin:0 .5em 10.5px}@media (max-width:9px){.d{opacity:.2}}";
        assert_eq!(super::shorten::style_sheet(css), short);
        let check = |js: &str, short: &str| assert_eq!(super::shorten::script(js), short);
        check(
            "// why\n\nconst a = `${b}`;\n  /* x */ f( a ); // y\n",
            "const a=`${b}`;\nf(a);\n",
        );
        // Text stays as it is, code inside of it too; slashes are told apart.
        check(
            "a = \"x  = // y\" + 'it\\'s = ' ;\n",
            "a=\"x  = // y\"+'it\\'s = ';\n",
        );
        check(
            "`a = ${ { b : `c = ${ d }` } } = e` ;\n",
            "`a = ${{b:`c = ${d}`}} = e`;\n",
        );
        check(
            "a / b / c ; s.replace( /[/ ]+ x/g , \"\" )",
            "a/b/c;s.replace(/[/ ]+ x/g,\"\")",
        );
        // What would mean something else without its space keeps it.
        check("a + +b - -c ; return x in y", "a+ +b- -c;return x in y");
    }

    /// Budget of ui.md section 2 for the scripts every page loads, as they travel.
    #[test]
    fn scripts_and_styles_of_every_page_are_small() {
        let gzipped = |name: &str| find(name).gzip.map_or(usize::MAX, <[u8]>::len);
        assert!(gzipped("app.js") <= 8_000);
        let scripts = ["htmx.js", "app.js", "combo.js", "logs.js"].map(gzipped);
        assert!(scripts.iter().sum::<usize>() <= 22_000, "{scripts:?}");
        let of_a_trace = gzipped("trace.js");
        assert!(of_a_trace <= 8_000, "{of_a_trace} bytes of trace.js");
        let of_a_chart = ["uplot.js", "explore_chart.js", "explore.js"].map(gzipped);
        assert!(of_a_chart.iter().sum::<usize>() <= 31_000, "{of_a_chart:?}");
        let pages: [&[&str]; 7] = [
            &["pages.css"],
            &["lists.css", "logs.css"],
            &["lists.css", "patterns.css"],
            &["logs.css", "detail.css"],
            &["lists.css", "traces.css"],
            &["trace.css"],
            &["explore.css", "uplot.css"],
        ];
        for page in pages {
            let styles = gzipped("app.css") + page.iter().map(|name| gzipped(name)).sum::<usize>();
            assert!(styles <= 7_000, "{page:?}: {styles} bytes of styles");
        }
        let all: usize = ASSETS
            .iter()
            .map(|asset| {
                asset.raw.len()
                    + [asset.brotli, asset.gzip]
                        .into_iter()
                        .flatten()
                        .map(<[u8]>::len)
                        .sum::<usize>()
            })
            .sum();
        // Three forms of uPlot are 93 KB of it: no page but the charts loads any.
        assert!(all <= 460 << 10, "{all} bytes of assets in the binary");
    }

    /// Every `asset("...")` in the templates exists, so [`asset`] cannot panic while serving.
    #[test]
    fn templates_name_only_files_that_exist() {
        let mut named = 0;
        for text in templates("web/templates") {
            for rest in text.split("asset(\"").skip(1) {
                let name = rest.split('"').next().expect("a closing quote");
                assert!(asset(name).starts_with("/a/"));
                named += 1;
            }
        }
        assert!(
            named > 4,
            "only {named} assets named: the pattern above no longer matches"
        );
    }

    /// Vendored files are exactly the ones named in web/vendor.lock.
    #[test]
    fn vendored_files_match_their_lock() {
        let lock: toml::Table = fs::read_to_string("web/vendor.lock")
            .expect("lock")
            .parse()
            .expect("toml");
        let mut locked = BTreeMap::new();
        for file in lock["file"].as_array().expect("[[file]]") {
            let text = |key: &str| file[key].as_str().expect("a string").to_owned();
            for key in ["package", "version", "licence", "source"] {
                assert!(!text(key).is_empty());
            }
            locked.insert(text("path"), text("sha256"));
        }
        for entry in fs::read_dir("web/static").expect("static") {
            let path = entry.expect("entry").path();
            let name = path
                .file_name()
                .expect("name")
                .to_string_lossy()
                .into_owned();
            let bytes = fs::read(&path).expect("file");
            // What is not locked must be ours: style sheets, modules that open with a comment, texts.
            let ours = name.ends_with(".css")
                || name.ends_with(".js") && bytes.starts_with(b"//")
                || ["favicon.svg", "licences.txt"].contains(&name.as_str());
            if ours && !locked.contains_key(&name) {
                continue;
            }
            let digest = Sha256::digest(&bytes);
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(locked.remove(&name), Some(hex), "{name}");
        }
        assert!(
            locked.is_empty(),
            "web/vendor.lock names files that are gone: {locked:?}"
        );
    }
}
