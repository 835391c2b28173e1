//! Jars from Maven, fetched once on a machine.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A folder that is kept between test runs.
pub fn cache() -> PathBuf {
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").expect("HOME or XDG_CACHE_HOME")).join(".cache"),
    };
    cache.join("riverrun")
}

/// The folder with an artifact's jar and those it needs, downloaded at the first use on this machine.
pub fn libraries(group: &str, artifact: &str, version: &str) -> PathBuf {
    let folder = cache().join(format!("{artifact}-{version}"));
    if folder.is_dir() {
        return folder;
    }
    // Downloaded beside its place and moved there whole, so that a broken download leaves nothing behind.
    let part = folder.with_extension(format!("part-{}", std::process::id()));
    fs::create_dir_all(part.join("libs")).expect("making the cache folder");
    let pom = format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>riverrun</groupId><artifactId>for-tests</artifactId><version>1</version><dependencies>\
         <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
         <version>{version}</version></dependency></dependencies></project>"
    );
    fs::write(part.join("pom.xml"), pom).expect("writing pom.xml");
    let output = Command::new("mvn")
        .args(["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs"])
        .current_dir(&part)
        .output()
        .expect("mvn is needed to download what the tests use (install maven)");
    assert!(output.status.success(), "downloading {artifact}: {}", String::from_utf8_lossy(&output.stdout));
    // Another test run may have been quicker.
    if fs::rename(part.join("libs"), &folder).is_err() {
        assert!(folder.is_dir(), "moving {artifact} to {}", folder.display());
    }
    let _ = fs::remove_dir_all(&part);
    folder
}
