//! The requests of a consumer, each sent once: claims and commits may be repeated, as they say the same again.

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Response, StatusCode, Url};
use sekali_common::consumers::{Claim, ClaimRequest, Commit, Committed, Consumer, Specification};
use serde::Serialize;

use super::{Client, Failure, json, send};

impl Client {
    /// `PUT /consumers/{name}`: makes a consumer or changes it.
    pub async fn put_consumer(&self, name: &str, wanted: &Specification) -> Result<Consumer, Failure> {
        json(self.tell(Method::PUT, self.consumer_url(name, None), wanted).await?).await
    }

    /// `GET /consumers/{name}`.
    pub async fn consumer(&self, name: &str) -> Result<Consumer, Failure> {
        json(send(self.http.get(self.consumer_url(name, None))).await?).await
    }

    /// `POST /consumers/{name}/claim`: `None` if there was nothing for as long as was asked. The timeout of the client has
    /// to be longer than that.
    pub async fn claim(&self, name: &str, wanted: &ClaimRequest) -> Result<Option<Claim>, Failure> {
        let response = self.tell(Method::POST, self.consumer_url(name, Some("claim")), wanted).await?;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(None),
            _ => json(response).await.map(Some),
        }
    }

    /// `POST /consumers/{name}/commit`.
    pub async fn commit(&self, name: &str, commit: &Commit) -> Result<Committed, Failure> {
        json(self.tell(Method::POST, self.consumer_url(name, Some("commit")), commit).await?).await
    }

    /// `DELETE /consumers/{name}`. One that is not there counts as deleted.
    pub async fn delete_consumer(&self, name: &str) -> Result<(), Failure> {
        match send(self.http.delete(self.consumer_url(name, None))).await {
            Err(failure) if !failure.is_of("unknown-consumer") => Err(failure),
            _ => Ok(()),
        }
    }

    async fn tell(&self, method: Method, url: Url, body: &impl Serialize) -> Result<Response, Failure> {
        // Structs of numbers and texts cannot fail to become JSON.
        let body = serde_json::to_vec(body).unwrap_or_default();
        send(self.http.request(method, url).header(CONTENT_TYPE, "application/json").body(body)).await
    }

    fn consumer_url(&self, name: &str, step: Option<&str>) -> Url {
        let mut url = self.url("consumers");
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(name).extend(step);
        }
        url
    }
}
