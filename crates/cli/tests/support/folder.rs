//! A folder of files that are given to the binary.

use std::{
    fs,
    path::{Path, PathBuf},
};

use gantline_test_support::certificates::Identity;

/// A folder that is gone after the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gantline-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        shown(&path)
    }

    /// Both files of the server; their names.
    pub(crate) fn serve(&self, identity: &Identity) -> [String; 2] {
        [self.write("server.pem", &identity.certificate), self.write("server.key", &identity.key)]
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn shown(path: &Path) -> String {
    path.to_str().expect("a readable path").to_owned()
}
