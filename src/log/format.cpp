// format_line: one access record as a line of text.
//
// Invariant: a line has exactly one newline, its last byte, and a client can put neither a quote
// nor a control byte into it; a JSON line is always valid JSON in valid UTF-8 (RFC 8259), whatever
// bytes were sent.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <iterator>

#include "log/log.h"

namespace pagewire::log {

namespace {

constexpr std::string_view cut_mark = "...";

struct WallTime {
  std::tm utc{};
  std::int64_t microseconds = 0;
};

WallTime wall_time(std::int64_t realtime_ns) {
  const auto seconds = static_cast<std::time_t>(realtime_ns / 1'000'000'000);
  WallTime time;
  ::gmtime_r(&seconds, &time.utc);
  time.microseconds = realtime_ns % 1'000'000'000 / 1'000;
  return time;
}

/// As nginx and Apache do: what could end the quoted text, or confuse a terminal, becomes \xHH.
void append_quoted(std::string& line, std::string_view text, bool cut) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte > 0x7e || c == '"' || c == '\\') {
      fmt::format_to(std::back_inserter(line), "\\x{:02X}", byte);
    } else {
      line += c;
    }
  }
  if (cut) line += cut_mark;
}

template <std::size_t N>
void append_quoted_or_dash(std::string& line, const ShortText<N>& text) {
  if (text.size == 0) {
    line += '-';
  } else {
    append_quoted(line, text.view(), text.cut);
  }
}

/// The size of the well-formed UTF-8 sequence (RFC 3629) at the front of `text`, 0 when there is
/// none.
std::size_t utf8_sequence_size(std::string_view text) {
  const auto at = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  std::size_t size = 0;
  unsigned char lowest = 0x80;   // of the second byte: rules out overlong forms ...
  unsigned char highest = 0xbf;  // ... and surrogates and values above U+10FFFF
  if (first >= 0xc2 && first <= 0xdf) {
    size = 2;
  } else if (first >= 0xe0 && first <= 0xef) {
    size = 3;
    if (first == 0xe0) lowest = 0xa0;
    if (first == 0xed) highest = 0x9f;
  } else if (first >= 0xf0 && first <= 0xf4) {
    size = 4;
    if (first == 0xf0) lowest = 0x90;
    if (first == 0xf4) highest = 0x8f;
  }
  if (size == 0 || text.size() < size || at(1) < lowest || at(1) > highest) return 0;
  for (std::size_t i = 2; i < size; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  return size;
}

void append_json_text(std::string& line, std::string_view text) {
  while (!text.empty()) {
    const auto byte = static_cast<unsigned char>(text.front());
    const std::size_t size = utf8_sequence_size(text);
    if (size == 0) {
      line += "\\ufffd";
    } else if (byte == '"' || byte == '\\') {
      line += '\\';
      line += text.front();
    } else if (byte < 0x20 || byte == 0x7f) {
      fmt::format_to(std::back_inserter(line), "\\u{:04x}", byte);
    } else {
      line += text.substr(0, size);
    }
    text.remove_prefix(size == 0 ? 1 : size);
  }
}

void json_member(std::string& line, std::string_view name, std::string_view text,
                 bool cut = false) {
  line += ",\"";
  line += name;
  line += "\":\"";
  append_json_text(line, text);
  if (cut) line += cut_mark;
  line += '"';
}

void append_tls(const TlsRecord& tls, std::string& line) {
  if (tls.version.empty()) return;
  fmt::format_to(std::back_inserter(line), " tls={} cipher={} ktls={}{}{}", tls.version, tls.cipher,
                 tls.kernel, tls.kernel_reason.empty() ? "" : ":", tls.kernel_reason);
  if (tls.receive.empty()) return;
  fmt::format_to(std::back_inserter(line), " ktls_rx={}{}{}", tls.receive,
                 tls.receive_reason.empty() ? "" : ":", tls.receive_reason);
}

void append_tls_json(const TlsRecord& tls, std::string& line) {
  if (tls.version.empty()) return;
  json_member(line, "tls", tls.version);
  json_member(line, "cipher", tls.cipher);
  json_member(line, "ktls", tls.kernel);
  json_member(line, "ktls_reason", tls.kernel_reason);
  if (tls.receive.empty()) return;
  json_member(line, "ktls_rx", tls.receive);
  json_member(line, "ktls_rx_reason", tls.receive_reason);
}

void format_combined(const AccessRecord& record, std::string& line) {
  append_quoted_or_dash(line, record.peer);
  fmt::format_to(std::back_inserter(line), " - - [{:%d/%b/%Y:%H:%M:%S} +0000] \"",
                 wall_time(record.realtime_ns).utc);
  if (record.method.size == 0) {
    line += '-';  // nothing of the request line was understood
  } else {
    append_quoted(line, record.method.view(), record.method.cut);
    line += ' ';
    append_quoted(line, record.target.view(), record.target.cut);
    line += record.http10 ? " HTTP/1.0" : " HTTP/1.1";
  }
  fmt::format_to(std::back_inserter(line), "\" {} {} \"", record.status, record.body_bytes);
  append_quoted_or_dash(line, record.referer);
  line += "\" \"";
  append_quoted_or_dash(line, record.user_agent);
  fmt::format_to(std::back_inserter(line), "\" rt={:.6f} path={} reason={}",
                 static_cast<double>(record.duration_ns) / 1e9,
                 record.path.empty() ? "-" : record.path,
                 record.reason.empty() ? "-" : record.reason);
  append_tls(record.tls, line);
  line += record.complete ? "\n" : " incomplete\n";
}

void format_json(const AccessRecord& record, std::string& line) {
  const WallTime time = wall_time(record.realtime_ns);
  fmt::format_to(std::back_inserter(line), "{{\"time\":\"{:%Y-%m-%dT%H:%M:%S}.{:06}Z\"", time.utc,
                 time.microseconds);
  json_member(line, "peer", record.peer.view());
  json_member(line, "method", record.method.view(), record.method.cut);
  json_member(line, "target", record.target.view(), record.target.cut);
  json_member(line, "version", record.http10 ? "HTTP/1.0" : "HTTP/1.1");
  fmt::format_to(std::back_inserter(line),
                 ",\"status\":{},\"bytes\":{},\"body_bytes\":{},\"duration_s\":{:.6f}",
                 record.status, record.bytes, record.body_bytes,
                 static_cast<double>(record.duration_ns) / 1e9);
  json_member(line, "path", record.path);
  json_member(line, "reason", record.reason);
  append_tls_json(record.tls, line);
  line += record.complete ? ",\"complete\":true" : ",\"complete\":false";
  json_member(line, "range", record.range.view(), record.range.cut);
  json_member(line, "referer", record.referer.view(), record.referer.cut);
  json_member(line, "user_agent", record.user_agent.view(), record.user_agent.cut);
  line += "}\n";
}

std::string host_and_port(std::string_view host, std::uint16_t port) {
  const bool v6 = host.find(':') != std::string_view::npos;
  return v6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

void format_tunnel(const AccessRecord& record, std::string& line) {
  const TunnelRecord& tunnel = record.tunnel;
  line += host_and_port(record.peer.view(), tunnel.client_port);
  fmt::format_to(std::back_inserter(line), " [{:%d/%b/%Y:%H:%M:%S} +0000] ",
                 wall_time(record.realtime_ns).utc);
  append_quoted_or_dash(line, tunnel.relay);
  line += ' ';
  append_quoted_or_dash(line, tunnel.upstream);
  fmt::format_to(
      std::back_inserter(line),
      " up={} down={} time={:.6f} connect={:.6f} queued={:.6f} tries={} path={} reason={} end={}",
      tunnel.up_bytes, tunnel.down_bytes, static_cast<double>(record.duration_ns) / 1e9,
      static_cast<double>(tunnel.connect_ns) / 1e9, static_cast<double>(tunnel.queued_ns) / 1e9,
      tunnel.tries, record.path, record.reason, tunnel.end);
  if (tunnel.proxied_by.size > 0) line.append(" by=").append(tunnel.proxied_by.view());
  append_tls(record.tls, line);
  line += record.complete ? "\n" : " incomplete\n";
}

void format_tunnel_json(const AccessRecord& record, std::string& line) {
  const TunnelRecord& tunnel = record.tunnel;
  const WallTime time = wall_time(record.realtime_ns);
  fmt::format_to(std::back_inserter(line), "{{\"time\":\"{:%Y-%m-%dT%H:%M:%S}.{:06}Z\"", time.utc,
                 time.microseconds);
  json_member(line, "client", host_and_port(record.peer.view(), tunnel.client_port));
  json_member(line, "relay", tunnel.relay.view(), tunnel.relay.cut);
  json_member(line, "upstream", tunnel.upstream.view(), tunnel.upstream.cut);
  fmt::format_to(std::back_inserter(line),
                 ",\"up_bytes\":{},\"down_bytes\":{},\"duration_s\":{:.6f},\"connect_s\":{:.6f},"
                 "\"queued_s\":{:.6f},\"tries\":{}",
                 tunnel.up_bytes, tunnel.down_bytes, static_cast<double>(record.duration_ns) / 1e9,
                 static_cast<double>(tunnel.connect_ns) / 1e9,
                 static_cast<double>(tunnel.queued_ns) / 1e9, tunnel.tries);
  if (tunnel.proxied_by.size > 0) {
    json_member(line, "proxied_by", tunnel.proxied_by.view(), tunnel.proxied_by.cut);
  }
  json_member(line, "path", record.path);
  json_member(line, "reason", record.reason);
  json_member(line, "end", tunnel.end);
  append_tls_json(record.tls, line);
  line += record.complete ? ",\"complete\":true}\n" : ",\"complete\":false}\n";
}

}  // namespace

void format_line(const AccessRecord& record, Format format, std::string& line) {
  line.clear();
  if (record.tunnel.is_one) {
    return format == Format::Json ? format_tunnel_json(record, line) : format_tunnel(record, line);
  }
  switch (format) {
    case Format::Combined:
      format_combined(record, line);
      return;
    case Format::Json:
      format_json(record, line);
      return;
  }
}

}  // namespace pagewire::log
