// A plain HTTP GET over a loopback socket, and the exposition text as values.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <map>
#include <sstream>
#include <string>

namespace entrain::metrics {

struct HttpAnswer {
  int status = 0;  // 0: no connection
  std::string body;
};

inline std::string Unchunked(const std::string& body) {
  std::string whole;
  std::size_t at = 0;
  while (at < body.size()) {
    const std::size_t line_end = body.find("\r\n", at);
    if (line_end == std::string::npos) break;
    const std::size_t length = std::stoul(body.substr(at, line_end - at), nullptr, 16);
    whole += body.substr(line_end + 2, length);
    at = line_end + 2 + length + 2;
  }
  return whole;
}

inline HttpAnswer HttpGet(int port, const std::string& path) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    close(fd);
    return {};
  }
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  if (send(fd, request.data(), request.size(), MSG_NOSIGNAL) < 0) {
    close(fd);
    return {};
  }
  std::string answer;
  char buffer[65536];
  for (ssize_t n; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;) answer.append(buffer, static_cast<std::size_t>(n));
  close(fd);
  const std::size_t header_end = answer.find("\r\n\r\n");
  if (header_end == std::string::npos) return {};
  const std::string header = answer.substr(0, header_end);
  const std::string body = answer.substr(header_end + 4);
  const bool chunked = header.find("chunked") != std::string::npos;
  return {std::stoi(header.substr(header.find(' ') + 1)), chunked ? Unchunked(body) : body};
}

// Series as written (`name{labels}`) to value.
inline std::map<std::string, double> ParseExposition(const std::string& text) {
  std::map<std::string, double> series;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    const std::size_t space = line.rfind(' ');
    series[line.substr(0, space)] = std::stod(line.substr(space + 1));
  }
  return series;
}

inline std::map<std::string, double> Scrape(int port) { return ParseExposition(HttpGet(port, "/metrics").body); }

// Series whose name and labels begin with `prefix`.
inline std::size_t CountWithPrefix(const std::map<std::string, double>& series, const std::string& prefix) {
  std::size_t count = 0;
  for (const auto& [name, value] : series) count += name.starts_with(prefix);
  return count;
}

}  // namespace entrain::metrics
