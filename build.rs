//! Turns `web/static` into a table of assets inside the binary: content-hashed names, brotli and
//! gzip variants made once here (kept only where smaller), so that serving is a lookup and a copy.
//! It must never reach outside `web/static`: the committed files are all a build needs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use sha2::{Digest, Sha256};

#[path = "web/shorten.rs"]
mod shorten;

/// Hex digits of the content hash in an asset's address: 32 bits tell apart the versions of one file.
const HASH_DIGITS: usize = 8;

struct Built {
    name: String,
    address: String,
    content_type: &'static str,
    raw: Vec<u8>,
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=web/shorten.rs");
    println!("cargo::rerun-if-changed=web/static");
    println!("cargo::rerun-if-changed=web/templates");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let files = read_static(Path::new("web/static"));
    let assets = address_all(files);
    let mut table = String::from("pub(crate) static ASSETS: &[Asset] = &[\n");
    for asset in &assets {
        emit(&mut table, asset, &out);
    }
    table.push_str("];\n");
    fs::write(out.join("assets.rs"), table).expect("OUT_DIR is writable");
}

fn read_static(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries =
        fs::read_dir(dir).unwrap_or_else(|e| panic!("cannot read {}: {e}", dir.display()));
    let mut files = BTreeMap::new();
    for entry in entries {
        let path = entry.expect("a readable directory entry").path();
        let name = path
            .file_name()
            .expect("an entry has a name")
            .to_string_lossy()
            .into_owned();
        let bytes =
            fs::read(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
        files.insert(name, bytes);
    }
    files
}

/// Style sheets and scripts name other files by their plain name in `asset(NAME)`; they are
/// addressed last, so that their own hash covers the addresses inside them.
fn address_all(files: BTreeMap<String, Vec<u8>>) -> Vec<Built> {
    let refers = |name: &str| name.ends_with(".css") || name.ends_with(".js");
    let (later, first): (Vec<_>, Vec<_>) = files.into_iter().partition(|(name, _)| refers(name));
    let mut built: Vec<Built> = first
        .into_iter()
        .map(|(name, raw)| address(name, raw))
        .collect();
    let plain = built.len();
    for (name, raw) in later {
        let mut text = String::from_utf8(raw).expect("style sheets and scripts are UTF-8");
        for target in &built[..plain] {
            text = text.replace(&format!("asset({})", target.name), &target.address);
        }
        assert!(
            !text.contains("url(asset("),
            "{name} names an asset that web/static does not have"
        );
        if name.ends_with(".css") {
            text = shorten::style_sheet(&text);
        } else if !["htmx.js", "uplot.js"].contains(&name.as_str()) {
            text = shorten::script(&text);
        }
        built.push(address(name, text.into_bytes()));
    }
    built.sort_by(|a, b| a.name.cmp(&b.name));
    built
}

fn address(name: String, raw: Vec<u8>) -> Built {
    let mut hash = String::new();
    for byte in Sha256::digest(&raw).iter().take(HASH_DIGITS / 2) {
        write!(hash, "{byte:02x}").expect("writing to a string");
    }
    let (stem, extension) = name.rsplit_once('.').expect("an asset has an extension");
    let content_type = match extension {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        other => panic!("no content type for .{other} ({name}); add it to build.rs"),
    };
    Built {
        address: format!("/a/{stem}-{hash}.{extension}"),
        name,
        content_type,
        raw,
    }
}

fn emit(table: &mut String, asset: &Built, out: &Path) {
    let variant = |suffix: &str, bytes: &[u8]| -> String {
        let path = out.join(format!("{}{suffix}", asset.name));
        fs::write(&path, bytes).expect("OUT_DIR is writable");
        format!("include_bytes!({:?})", path.display().to_string())
    };
    // woff2 is compressed inside: a variant that saves under a twentieth only grows the binary.
    let smaller = |suffix: &str, bytes: Vec<u8>| match bytes.len() < asset.raw.len() / 20 * 19 {
        true => format!("Some({})", variant(suffix, &bytes)),
        false => "None".to_owned(),
    };
    let etag = asset
        .address
        .rsplit_once('-')
        .expect("an address has a hash")
        .1;
    let etag = etag.split('.').next().expect("a hash before the extension");
    writeln!(
        table,
        "Asset {{ name: {:?}, address: {:?}, content_type: {:?}, hash: {:?}, raw: {}, brotli: {}, gzip: {} }},",
        asset.name,
        asset.address,
        asset.content_type,
        etag,
        variant("", &asset.raw),
        smaller(".br", brotli(&asset.raw)),
        smaller(".gz", gzip(&asset.raw)),
    )
    .expect("writing to a string");
}

fn brotli(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let params = brotli::enc::BrotliEncoderParams {
        quality: 11,
        lgwin: 22,
        ..Default::default()
    };
    brotli::BrotliCompress(&mut &raw[..], &mut out, &params).expect("compressing into memory");
    out
}

fn gzip(raw: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(raw).expect("compressing into memory");
    encoder.finish().expect("compressing into memory")
}
