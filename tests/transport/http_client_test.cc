#include "transport/http_client.h"

#include <gtest/gtest.h>

#include <string>

namespace entrain::transport {
namespace {

TEST(HttpClient, WhatWouldAddHeadersIsNotSent) {
  HttpClient client;
  for (const auto& [name, value] : {std::pair<std::string, std::string>{"X", "a\r\nY: b"}, {"X\r\nY", "b"}, {"X", std::string("a\0b", 3)}}) {
    HttpRequest request;
    request.url = "http://127.0.0.1:1/";
    request.headers[name] = value;
    const auto answer = client.Send(request);
    EXPECT_EQ(answer.status().code(), absl::StatusCode::kInvalidArgument) << answer.status();
    EXPECT_EQ(answer.status().message().find("Y: b"), absl::string_view::npos);
  }
}

TEST(HttpClient, NobodyThereIsUnavailableAndNamesTheOriginAlone) {
  HttpRequest request;
  request.url = "http://127.0.0.1:1/hook?key=secret";
  const auto answer = HttpClient().Send(request);
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(answer.status().message().find("http://127.0.0.1:1: "), 0u) << answer.status();
  EXPECT_EQ(answer.status().message().find("secret"), absl::string_view::npos);
}

TEST(HttpClient, OnlyHttp) {
  HttpRequest request;
  request.url = "file:///etc/hostname";
  EXPECT_FALSE(HttpClient().Send(request).ok());
}

}  // namespace
}  // namespace entrain::transport
