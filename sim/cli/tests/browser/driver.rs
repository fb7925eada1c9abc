//! Headless Chromium through its driver (W3C WebDriver, with the commands of its DevTools protocol).

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

/// A browser with a profile of its own, gone with its value.
pub struct Browser {
    driver: Child,
    client: Client,
    runtime: Runtime,
    downloads: PathBuf,
}

/// A command of the driver that the standard does not have: its path behind that of the session, and its body.
#[derive(Debug)]
struct Vendor(&'static str, Value);

impl WebDriverCompatibleCommand for Vendor {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.0))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.1.to_string()))
    }
}

/// The first of `names` on the PATH.
fn program(names: &[&str]) -> Option<PathBuf> {
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    names.iter().flat_map(|name| folders.iter().map(move |f| f.join(name))).find(|path| path.is_file())
}

impl Browser {
    /// Starts one that keeps its files in `folder`; `None`, loudly, where there is no Chromium.
    pub fn start(folder: &Path) -> Option<Self> {
        let browser = program(&["chromium", "chromium-browser", "google-chrome", "chrome"]);
        let driver = program(&["chromedriver"]);
        let (Some(browser), Some(driver)) = (browser, driver) else {
            eprintln!(
                "SKIPPED: no chromium with chromedriver on the PATH: apt-get install chromium chromium-driver"
            );
            return None;
        };
        let downloads = folder.join("downloads");
        fs::create_dir_all(&downloads).unwrap();
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let says = BufReader::new(driver.stdout.take().unwrap());
        let port = says.lines().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let port = port.expect("chromedriver names its port");
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let capabilities = json!({
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            "goog:chromeOptions": {
                "binary": browser,
                "args": [
                    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                    "--no-first-run", "--window-size=1280,900",
                    format!("--user-data-dir={}", folder.join("profile").display()),
                ],
                "prefs": { "download.default_directory": downloads },
                "perfLoggingPrefs": { "enableNetwork": true },
            },
        });
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities.as_object().unwrap().clone());
        let client = runtime.block_on(builder.connect(&format!("http://127.0.0.1:{port}")));
        match client {
            Ok(client) => Some(Self { driver, client, runtime, downloads }),
            Err(error) => {
                let _ = driver.kill();
                panic!("chromedriver cannot start {}: {error}", browser.display());
            }
        }
    }

    /// Goes to a file.
    pub fn open(&self, page: &Path) {
        let address = url::Url::from_file_path(page.canonicalize().unwrap()).unwrap();
        self.runtime.block_on(self.client.goto(address.as_str())).unwrap();
    }

    /// The value of the body of a function.
    pub fn run(&self, script: &str) -> Value {
        let value = self.runtime.block_on(self.client.execute(script, Vec::new()));
        value.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    fn vendor(&self, path: &'static str, body: Value) -> Value {
        self.runtime.block_on(self.client.issue_cmd(Vendor(path, body))).unwrap()
    }

    /// A command of the DevTools protocol.
    pub fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.vendor("goog/cdp/execute", json!({ "cmd": command, "params": parameters }))
    }

    /// What the console was told since it was asked last.
    pub fn console(&self) -> Vec<String> {
        let entries = self.vendor("se/log", json!({ "type": "browser" }));
        entries.as_array().unwrap().iter().map(|entry| entry["message"].to_string()).collect()
    }

    /// The addresses that were asked for since.
    pub fn requests(&self) -> Vec<String> {
        let entries = self.vendor("se/log", json!({ "type": "performance" }));
        let message = |entry: &Value| -> Value {
            serde_json::from_str::<Value>(entry["message"].as_str().unwrap()).unwrap()["message"].clone()
        };
        let messages = entries.as_array().unwrap().iter().map(message);
        let sent = messages.filter(|message| message["method"] == "Network.requestWillBeSent");
        sent.map(|of| of["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// Makes the window so wide; a phone's has touch and no scrollbars.
    pub fn resize(&self, width: u32, phone: bool) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": phone });
        self.devtools("Emulation.setDeviceMetricsOverride", size);
    }

    /// What the reader prefers: `light` or `dark`; on `screen` or in `print`.
    pub fn prefer(&self, scheme: &str, media: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "media": media, "features": features }));
    }

    /// Presses and releases a key.
    pub fn press(&self, key: &str, code: u32) {
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let key =
                json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.devtools("Input.dispatchKeyEvent", key);
        }
    }

    /// Moves the pointer to a place of the window.
    pub fn point(&self, x: f64, y: f64) {
        self.devtools("Input.dispatchMouseEvent", json!({ "type": "mouseMoved", "x": x, "y": y }));
    }

    /// A picture of the whole page.
    pub fn picture(&self, file: &Path) {
        let size = self.run("var e = document.documentElement; return [e.clientWidth, e.scrollHeight];");
        let clip = json!({ "x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1 });
        let how = json!({ "captureBeyondViewport": true, "format": "png", "clip": clip });
        let picture = self.devtools("Page.captureScreenshot", how);
        let engine = &base64::engine::general_purpose::STANDARD;
        let bytes = base64::Engine::decode(engine, picture["data"].as_str().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }

    /// Takes what was downloaded under a name.
    pub fn downloaded(&self, name: &str) -> Option<String> {
        let file = self.downloads.join(name);
        let text = fs::read_to_string(&file).ok().filter(|text| !text.is_empty())?;
        fs::remove_file(file).unwrap();
        Some(text)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the session, which ends the browser; then its driver.
        let _ = self.runtime.block_on(self.client.clone().close());
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
