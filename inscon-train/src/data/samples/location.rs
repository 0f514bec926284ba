//! Where a shard lies: a file of this machine, or an object in a store.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path as Key;
use object_store::{ClientOptions, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::Url;

use super::ShardError;

/// A shard or an index.
#[derive(Debug, Clone)]
pub(super) struct Location {
    /// As the user may name it.
    pub(super) url: String,
    pub(super) at: At,
}

#[derive(Debug, Clone)]
pub(super) enum At {
    File(PathBuf),
    Object(Arc<dyn ObjectStore>, Key),
}

impl Location {
    pub(super) fn file(path: &Path) -> Self {
        Self {
            url: path.display().to_string(),
            at: At::File(path.to_owned()),
        }
    }

    /// What stands after the last `/`.
    pub(super) fn file_name(&self) -> &str {
        let last = self.url.rfind(['/', std::path::MAIN_SEPARATOR]);
        &self.url[last.map_or(0, |slash| slash + 1)..]
    }

    /// Another file of the same folder.
    pub(super) fn sibling(&self, name: &str) -> Self {
        let url = format!(
            "{}{name}",
            &self.url[..self.url.len() - self.file_name().len()]
        );
        let at = match &self.at {
            At::File(path) => At::File(path.with_file_name(name)),
            At::Object(store, key) => {
                let mut parts: Vec<_> = key.parts().collect();
                parts.pop();
                let key = parts.into_iter().chain([name.into()]).collect();
                At::Object(store.clone(), key)
            }
        };
        Self { url, at }
    }

    pub(super) fn is_local(&self) -> bool {
        matches!(self.at, At::File(_))
    }
}

/// Whether a pattern is a URL, and its scheme.
pub(super) fn scheme(pattern: &str) -> Option<&str> {
    let (scheme, _) = pattern.split_once("://")?;
    let is_one = scheme
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    (is_one && !scheme.is_empty()).then_some(scheme)
}

/// Opens object stores, each once.
#[derive(Debug)]
pub(super) struct Stores {
    connect: Duration,
    open: HashMap<String, Arc<dyn ObjectStore>>,
}

impl Stores {
    /// `connect` bounds the time to set a connection up.
    pub(super) fn new(connect: Duration) -> Self {
        // One provider of cryptography a process; whoever was first is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            connect,
            open: HashMap::new(),
        }
    }

    /// The place that a URL names.
    pub(super) fn locate(&mut self, text: &str) -> Result<Location, ShardError> {
        let refused = |said: String| ShardError::Refused {
            url: text.to_owned(),
            said,
        };
        let url = Url::parse(text).map_err(|e| refused(format!("it is no URL ({e})")))?;
        if url.scheme() == "file" {
            let path = url
                .to_file_path()
                .map_err(|()| refused("it is no path of this machine".to_owned()))?;
            return Ok(Location::file(&path));
        }
        if url.query().is_some() {
            let said = "signed URLs and others with a `?` are not supported; give the object's own \
                        URL, and credentials in the environment";
            return Err(refused(said.to_owned()));
        }
        let (kind, key) = ObjectStoreScheme::parse(&url).map_err(|_| {
            refused(format!(
                "`{}` is none of the known stores: a path of this machine, file://, http://, \
                 https://, s3://, gs://, az://",
                url.scheme()
            ))
        })?;
        let root = url[..url::Position::BeforePath].to_owned();
        // Buckets that stand in the path of an https URL make stores of their own.
        let bucket = url.path().split('/').nth(1).unwrap_or_default();
        let name = match (url.scheme(), &kind) {
            ("https", ObjectStoreScheme::Http) | ("http", _) => root.clone(),
            ("https", _) => format!("{root}/{bucket}"),
            _ => root.clone(),
        };
        let store = match self.open.get(&name) {
            Some(store) => store.clone(),
            None => {
                let store = self.build(&kind, text, &root).map_err(|e| {
                    refused(format!(
                        "{}; stores are set up by the environment (AWS_ENDPOINT_URL, AWS_REGION, \
                         GOOGLE_SERVICE_ACCOUNT, AZURE_STORAGE_ACCOUNT_NAME)",
                        super::fetch::chain(&e)
                    ))
                })?;
                self.open.insert(name, store.clone());
                store
            }
        };
        Ok(Location {
            url: text.to_owned(),
            at: At::Object(store, key),
        })
    }

    /// Whether a URL is a web server's, and not a store's that is reached by https.
    pub(super) fn is_http(&self, text: &str) -> bool {
        let kind = Url::parse(text)
            .ok()
            .and_then(|url| ObjectStoreScheme::parse(&url).ok());
        matches!(kind, Some((ObjectStoreScheme::Http, _)))
    }

    fn build(
        &self,
        kind: &ObjectStoreScheme,
        url: &str,
        root: &str,
    ) -> object_store::Result<Arc<dyn ObjectStore>> {
        // What a request may take as a whole depends on the line; `fetch` watches that it moves.
        let client = ClientOptions::new()
            .with_allow_http(true)
            .with_timeout_disabled()
            .with_connect_timeout(self.connect);
        // Tried again by `fetch`, which goes on at the byte reached.
        let once = RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        };
        Ok(match kind {
            ObjectStoreScheme::AmazonS3 => Arc::new(
                AmazonS3Builder::from_env()
                    .with_url(url)
                    .with_client_options(client)
                    .with_retry(once)
                    .build()?,
            ),
            ObjectStoreScheme::GoogleCloudStorage => Arc::new(
                GoogleCloudStorageBuilder::from_env()
                    .with_url(url)
                    .with_client_options(client)
                    .with_retry(once)
                    .build()?,
            ),
            ObjectStoreScheme::MicrosoftAzure => Arc::new(
                MicrosoftAzureBuilder::from_env()
                    .with_url(url)
                    .with_client_options(client)
                    .with_retry(once)
                    .build()?,
            ),
            ObjectStoreScheme::Http => Arc::new(
                HttpBuilder::new()
                    .with_url(root)
                    .with_client_options(client)
                    .with_retry(once)
                    .build()?,
            ),
            other => {
                return Err(object_store::Error::NotSupported {
                    source: format!("{other:?} is not supported").into(),
                });
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        let mut stores = Stores::new(Duration::from_secs(1));
        let file = stores.locate("file:///a%20b/c-0.tar").unwrap();
        assert!(file.is_local());
        assert_eq!(file.url, "/a b/c-0.tar");
        let object = stores.locate("http://127.0.0.1:9/a%20b/c-0.tar").unwrap();
        let At::Object(_, key) = &object.at else {
            panic!("{object:?}")
        };
        assert_eq!(key.to_string(), "a b/c-0.tar");
        let other = object.sibling("c.index.jsonl");
        assert_eq!(other.url, "http://127.0.0.1:9/a%20b/c.index.jsonl");
        let At::Object(_, key) = &other.at else {
            panic!("{other:?}")
        };
        assert_eq!(key.to_string(), "a b/c.index.jsonl");
        assert_eq!(stores.open.len(), 1);

        for (url, said) in [
            ("pipe://cat", "s3://"),
            ("https://host/a.tar?sig=1", "signed"),
            ("http://", "no URL"),
        ] {
            let error = stores.locate(url).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains(url), "{error}");
        }
    }

    #[test]
    fn schemes_are_not_drives() {
        assert_eq!(scheme("s3://b"), Some("s3"));
        assert_eq!(scheme("a/b://c"), None);
        assert_eq!(scheme("/a/b"), None);
        assert_eq!(scheme("C:\\a"), None);
    }
}
