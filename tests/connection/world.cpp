// One world: its clients, its service, its clock and what must hold at the end know each other, so
// they are one file, long as it is.
#include "tests/connection/world.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <optional>
#include <stdexcept>
#include <vector>

#include "conf/format.h"
#include "conf/network.h"
#include "gateway/server.h"
#include "gateway/station.h"
#include "tests/connection/allocations.h"
#include "tests/connection/sockets.h"
#include "tests/connection/tls_end.h"
#include "tests/connection/virtual_time.h"
#include "tests/gateway/certificate.h"

namespace classgate::connection_test {
namespace {

using namespace std::chrono_literals;
using proxy::net::Fd;

constexpr std::size_t clients_max = 16;  // of one script
constexpr std::size_t clients_at_once = 4;

class Script {
 public:
  explicit Script(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  bool is_over() const { return bytes_.empty(); }
  unsigned next() {
    if (bytes_.empty()) return 0;
    const unsigned byte = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return byte;
  }
  std::string_view take(std::size_t size) {
    size = std::min(size, bytes_.size());
    const auto* begin = reinterpret_cast<const char*>(bytes_.data());
    bytes_ = bytes_.subspan(size);
    return {begin, size};
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

std::optional<std::size_t> number_after(std::string_view text, std::string_view label,
                                        int base = 10) {
  const std::size_t at = text.find(label);
  if (at == std::string_view::npos) return std::nullopt;
  std::size_t number = 0;
  const char* const begin = text.data() + at + label.size();
  if (std::from_chars(begin, text.data() + text.size(), number, base).ec != std::errc{})
    return std::nullopt;
  return number;
}

// The size of the first message in the text, when all of it is there. Reads what this program and
// the gateway write, no more.
std::optional<std::size_t> message_size(std::string_view text) {
  const std::size_t end = text.find("\r\n\r\n");
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view head = text.substr(0, end + 2);
  std::size_t size = end + 4;
  if (head.find("ransfer-Encoding: chunked\r\n") != std::string_view::npos) {
    for (;;) {
      const std::size_t line = text.find("\r\n", size);
      if (line == std::string_view::npos) return std::nullopt;
      const auto chunk = number_after(text.substr(size, line - size), "", 16);
      if (!chunk) return std::nullopt;
      if (*chunk == 0) {  // trailers, perhaps, and an empty line
        const std::size_t last = text.find("\r\n\r\n", line);
        return last == std::string_view::npos ? std::nullopt : std::optional(last + 4);
      }
      size = line + 2 + *chunk + 2;
      if (text.size() < size) return std::nullopt;
    }
  }
  size += number_after(head, "ontent-Length: ").value_or(0);
  return text.size() < size ? std::nullopt : std::optional(size);
}

// What a whole message brings, whatever pieces it came in.
std::string body_of(std::string_view message) {
  std::size_t at = message.find("\r\n\r\n") + 4;
  if (message.substr(0, at).find("ransfer-Encoding: chunked\r\n") == std::string_view::npos)
    return std::string(message.substr(at));
  std::string body;
  for (;;) {
    const std::size_t line = message.find("\r\n", at);
    const std::size_t size = number_after(message.substr(at, line - at), "", 16).value_or(0);
    if (size == 0) return body;
    body += message.substr(line + 2, size);
    at = line + 2 + size + 2;
  }
}

// One client: a list of requests, numbered, that go out as the script wants it.
struct Client {
  Fd fd;
  int number = 0;               // of the connection
  bool is_introduced = false;   // with a PROXY header, which the conf may not expect
  std::unique_ptr<TlsEnd> tls;  // null: plain
  int requests = 0;             // written so far, in whole or in part
  std::string outgoing;         // not sent yet
  std::string wire;             // the same as bytes of the connection
  std::string incoming;         // not understood yet
  unsigned drip = 0;            // bytes that go out at each recv(2) of the gateway
  int served = 0;
  int answers = 0;  // with a status of 200 and above
  bool was_told_close = false;
  bool has_raw_bytes = false;  // of the script itself: nobody knows what the requests are
  bool has_ended_writing = false;
  bool has_ended = false;  // the gateway's side
};

// One connection of the service.
struct Peer {
  Fd fd;
  std::string incoming;
  std::string outgoing;
};

class World {
 public:
  World(std::span<const std::uint8_t> script, const Manner& manner)
      : script_(script),
        wires_(manner.wires),
        is_paced_(manner.is_paced),
        time_([this](bool is_idle) { on_turn(is_idle); }, [this] { on_receive(); }) {
    listen_as_service();
    auto opened = gateway::Server::open(settings(0));
    if (!opened) throw std::runtime_error(opened.error());
    server_ = std::move(*opened);
    const std::vector<std::string> addresses = server_->listen_addresses();
    port_ = static_cast<std::uint16_t>(*number_after(addresses[0], "127.0.0.1:"));
    tls_port_ = static_cast<std::uint16_t>(*number_after(addresses[1], "127.0.0.1:"));
  }
  ~World() {
    for (Client& client : clients_) reset(client.fd);
    for (Peer& peer : peers_) reset(peer.fd);
    server_.reset();
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  Outcome run() {
    {
      const AllocationsOf gateway(true);
      server_->stations().front()->run();  // until on_turn() has stopped it
    }
    const admission::Snapshot s = server_->snapshot();
    if (s.total != s.processed + admission::sum(s.failed) + admission::sum(s.rejected) +
                       s.abandoned + s.waiting + s.in_flight)
      complain("the books do not balance");
    outcome_.contained = server_->shared().exceptions_contained;
    if (server_->shared().invariants_broken != 0) complain("an invariant was broken");
    if (outcome_.contained != 0 && Allocations::first_bad == 0) complain("something was thrown");
    for (const Client& client : clients_) outcome_.served_of_client.push_back(client.served);
    return outcome_;
  }

 private:
  conf::Settings settings(unsigned variant) const {
    conf::Settings all;
    all.listen = {{"127.0.0.1", 0, "127.0.0.1:0"},
                  {"127.0.0.1", 0, "127.0.0.1:0", variant % 8 != 7}};  // https:// or, then, plain
    all.tls.certificates = {gateway::test::some_certificate()};
    if (wires_ == Wires::any && variant >= 8) {
      all.client.trusted_proxies = {*conf::parse_network("127.0.0.1")};
      all.client.proxy_protocol = true;
    }
    all.threads = 1;
    all.upstream.servers = {
        {"127.0.0.1", service_port_, fmt::format("127.0.0.1:{}", service_port_)}};
    all.admission.workers = 2;
    all.admission.queue_size = 2;
    all.admission.rate = 0;
    all.client.max_connections = 20;
    all.client.body_buffer = conf::Bytes{64};
    all.client.response_buffer = conf::Bytes{64};
    all.log.access = "off";
    switch (variant % 6) {
      case 1:
        all.admission.workers = 1;
        all.client.body_buffer = conf::Bytes{1};
        break;
      case 2: all.client.requests_per_connection = 2; break;
      case 3:
        all.client.header_timeout = 1s;
        all.client.idle_timeout = 1s;
        break;
      case 4:
        all.upstream.on_client_abort = conf::OnClientAbort::cancel;
        all.upstream.on_stream_abort = conf::OnClientAbort::finish;
        all.upstream.stream_idle_timeout = 2s;
        all.upstream.stream_time_max = 10s;
        break;
      case 5:
        all.client.body_bytes = conf::Bytes{100};
        all.admission.queue_timeout = 1s;
        break;
      default: break;
    }
    return all;
  }

  void complain(std::string_view what) {
    if (outcome_.fault.empty()) outcome_.fault = what;
  }

  // ---- The clock and the turns ----

  void on_turn(bool is_idle) {
    const AllocationsOf ours(false);
    serve_connections();
    if (!script_.is_over()) {
      if (is_idle || (!is_paced_ && script_.next() % 4 == 0)) step();
      return;
    }
    if (is_idle) finish();
  }

  void on_receive() {
    const AllocationsOf ours(false);
    for (Client& client : clients_)
      if (client.drip > 0) send_prepared(client, client.drip);
  }

  void step() {
    const unsigned what = script_.next();
    const unsigned more = what / 16;
    switch (what % 16) {
      case 0: return connect(wires_ == Wires::any ? more : 0);
      case 1:
      case 2: return write_request(client(more), more);
      case 3:
      case 4: return send(client(more), 1 + more * more * 8);
      case 5: client(more).drip = 1 + more / 4; return send(client(more), 1);
      case 6: client(more).drip = 0; return read(client(more));
      case 7: return pass_time(more);
      case 8: return answer(more);
      case 9: return answer(0);
      case 10: return reload(more);
      case 11: return leave(client(more), more);
      case 12: return hurt_service(more);
      case 13: return write_raw(client(more), script_.next());
      default: return send(client(more), 100'000);
    }
  }

  // To just before each of the limits, to it, beyond.
  void pass_time(unsigned which) {
    static constexpr std::array<std::chrono::milliseconds, 16> times{
        1ms,    10ms,   100ms,  999ms,    1000ms,   1001ms,   1999ms,   2001ms,
        4999ms, 5001ms, 9999ms, 10'001ms, 29'999ms, 30'001ms, 60'001ms, 75'001ms};
    VirtualTime::advance(times[which % times.size()]);
  }

  // The script is over: everybody ends what they began, and time passes.
  void finish() {
    for (Client& client : clients_) {
      client.drip = 0;
      read(client);
      if (client.fd && !client.has_ended_writing) leave(client, 0);
    }
    for (std::size_t i = 0; i < peers_.size(); ++i) answer(0);
    const admission::Snapshot s = server_->snapshot();
    const bool is_over =
        server_->connections() == 0 && s.waiting == 0 && s.in_flight == 0 && s.active_workers == 0;
    if (is_over) return server_->stop();
    if (++finishing_ > 400) {
      complain(fmt::format("it does not end: {} connections, {} waiting, {} in flight, {} workers",
                           server_->connections(), s.waiting, s.in_flight, s.active_workers));
      return server_->stop();
    }
    VirtualTime::advance(1s);
  }

  void reload(unsigned variant) {
    const conf::Settings wanted = settings(variant);
    if (!reload_perhaps_without_memory(wanted))
      if (auto done = server_->reconfigure(wanted, {}); !done) complain(done.error());
  }

  // As an operator does: what failed is tried once more. True: it did not.
  bool reload_perhaps_without_memory(const conf::Settings& wanted) {
    const AllocationsOf gateway(true);
    try {
      return server_->reconfigure(wanted, {}).has_value();
    } catch (const std::exception&) {
      return false;
    }
  }

  // ---- Clients ----

  Client& client(unsigned which) {
    if (clients_.empty()) connect(0);
    return clients_[clients_.size() - 1 - which % std::min(clients_.size(), clients_at_once)];
  }

  // Bits of `kind`: TLS, a PROXY header, the older TLS or a header that lies.
  void connect(unsigned kind) {
    if (clients_.size() >= clients_max) return;
    Client client;
    const bool is_tls = (kind & 1) != 0;
    client.fd = open_socket();
    client.number = static_cast<int>(clients_.size());
    connect_to_loopback(client.fd, is_tls ? tls_port_ : port_);
    if ((kind & 2) != 0) introduce(client, (kind & 4) != 0, is_tls);
    if (is_tls) client.tls = std::make_unique<TlsEnd>(session_.get(), (kind & 4) != 0);
    clients_.push_back(std::move(client));
  }

  // Version 1 or 2; a lie is a header that ends too early, or names an address that is none.
  static void introduce(Client& client, bool is_lie, bool is_second_version) {
    using namespace std::string_literals;
    client.is_introduced = true;
    client.wire = is_second_version
                      ? "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\1\xc0\0\2\2\0\1\0\2"s
                      : "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"s;
    if (!is_lie) return;
    client.has_raw_bytes = true;
    if (is_second_version)
      client.wire.resize(20);
    else
      client.wire[13] = 'x';
  }

  void write_request(Client& client, unsigned kind) {
    const std::string target = fmt::format("/{}/{}", client.number, client.requests++);
    const std::string body(kind * 40, 'b');
    switch (kind % 5) {
      case 0: client.outgoing += fmt::format("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", target); break;
      case 1:
        client.outgoing += fmt::format(
            "POST {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n"
            "0\r\nX-T: 1\r\n\r\n",
            target, body.size(), body);
        break;
      case 2:
        client.outgoing += fmt::format(
            "POST {} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n{}",
            target, body.size(), body);
        break;
      default:
        client.outgoing +=
            fmt::format("POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{}", target,
                        body.size(), body);
    }
    ++outcome_.requests;
  }

  void write_raw(Client& client, unsigned size) {
    client.has_raw_bytes = true;
    client.outgoing += script_.take(size % 32);
  }

  void send(Client& client, std::size_t most) {
    if (!client.fd || client.has_ended_writing) return;
    if (!client.tls) {
      client.wire += std::exchange(client.outgoing, {});
    } else {
      if (!client.tls->is_established()) read(client);
      client.tls->write(std::exchange(client.outgoing, {}), client.drip > 0 ? client.drip : 16'000);
      client.wire += client.tls->take_outgoing();
    }
    send_prepared(client, most);
  }

  // In the middle of the gateway's own work with TLS: no other work with TLS here.
  void send_prepared(Client& client, std::size_t most) {
    if (!client.fd || client.has_ended_writing || client.wire.empty()) return;
    const ssize_t sent = ::send(client.fd.get(), client.wire.data(),
                                std::min(most, client.wire.size()), MSG_NOSIGNAL);
    if (sent > 0) client.wire.erase(0, static_cast<std::size_t>(sent));
  }

  void leave(Client& client, unsigned how) {
    if (!client.fd) return;
    if (client.tls && how >= 8) {
      client.tls->say_end();
      send(client, 100'000);
    }
    client.has_ended_writing = true;
    if (how % 3 == 0) {
      ::shutdown(client.fd.get(), SHUT_WR);
      return;
    }
    read(client);
    if (how % 3 == 1) reset(client.fd);
    client.fd.reset();
  }

  void read(Client& client) {
    if (!client.fd) return;
    bool goes_on;
    if (client.tls) {
      std::string bytes;
      goes_on = read_all(client.fd, bytes);
      client.tls->receive(bytes);
      client.incoming += client.tls->take_incoming();
      if (client.tls->is_established() && client.answers > 0) session_.reset(client.tls->session());
    } else {
      goes_on = read_all(client.fd, client.incoming);
    }
    understand(client);
    if (goes_on || client.has_ended) return;
    client.has_ended = true;
    if (!client.incoming.empty()) ++outcome_.cut;
    client.fd.reset();
  }

  void understand(Client& client) {
    while (const auto size = message_size(client.incoming)) {
      const std::string message = client.incoming.substr(0, *size);
      client.incoming.erase(0, *size);
      const std::size_t status = number_after(message, "HTTP/1.1 ").value_or(0);
      if (status < 100 || status > 599) return complain("an answer that is none: " + message);
      if (status < 200) continue;
      if (client.was_told_close) return complain("an answer after the last one: " + message);
      client.was_told_close = message.find("Connection: close\r\n") != std::string::npos;
      if (status == 200 && !client.has_raw_bytes) {
        const std::string expected = fmt::format("/{}/{}", client.number, client.answers);
        if (body_of(message) != expected)
          return complain(fmt::format("{} was asked, this was answered: {}", expected, message));
      }
      ++client.answers;
      ++(status == 200 ? outcome_.served : outcome_.refused);
      if (status == 200) ++client.served;
      if (status == 200 && client.tls) ++outcome_.served_by_tls;
      if (status == 200 && client.is_introduced) ++outcome_.served_introduced;
      // A PROXY header that nobody expects is refused as a request is.
      if (client.answers > client.requests + client.is_introduced && !client.has_raw_bytes)
        return complain("more answers than requests: " + message);
    }
  }

  // ---- The service ----

  void listen_as_service() {
    listener_ = listen_on_loopback();
    service_port_ = port_of(listener_);
  }

  // Reads whatever has come; answers wait for the script.
  void serve_connections() {
    for (Fd fd = accept_one(listener_); fd; fd = accept_one(listener_))
      peers_.push_back({.fd = std::move(fd), .incoming = {}, .outgoing = {}});
    std::erase_if(peers_, [](Peer& peer) {
      if (read_all(peer.fd, peer.incoming)) return false;
      reset(peer.fd);
      return true;
    });
  }

  // Every request that is whole gets its answer, or so many bytes of it (0: all).
  void answer(unsigned most) {
    for (Peer& peer : peers_) {
      while (const auto size = message_size(peer.incoming)) {
        const std::size_t from = peer.incoming.find(' ') + 1;
        const std::string target = peer.incoming.substr(from, peer.incoming.find(' ', from) - from);
        peer.incoming.erase(0, *size);
        const bool is_stream = target.back() % 2 != 0;
        peer.outgoing += is_stream ? streamed(target)
                                   : fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}",
                                                 target.size(), target);
      }
      const std::size_t size =
          most == 0 ? peer.outgoing.size() : std::min<std::size_t>(most, peer.outgoing.size());
      const ssize_t sent = ::send(peer.fd.get(), peer.outgoing.data(), size, MSG_NOSIGNAL);
      if (sent > 0) peer.outgoing.erase(0, static_cast<std::size_t>(sent));
    }
  }

  // A piece of its own for each byte: time may pass between any two.
  static std::string streamed(std::string_view text) {
    std::string answer =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (const char c : text) answer += fmt::format("1\r\n{}\r\n", c);
    return answer + "0\r\n\r\n";
  }

  void hurt_service(unsigned how) {
    if (peers_.empty()) return;
    Peer& peer = peers_[how / 2 % peers_.size()];
    if (how % 2 == 0) reset(peer.fd);
    peers_.erase(peers_.begin() + static_cast<std::ptrdiff_t>(how / 2 % peers_.size()));
  }

  struct FreeSession {
    void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
  };

  Script script_;
  const Wires wires_;
  const bool is_paced_;
  VirtualTime time_;
  Fd listener_;
  std::uint16_t service_port_ = 0;
  std::unique_ptr<gateway::Server> server_;
  std::uint16_t port_ = 0;
  std::uint16_t tls_port_ = 0;
  std::unique_ptr<SSL_SESSION, FreeSession> session_;  // the latest, which newcomers resume
  std::vector<Client> clients_;
  std::vector<Peer> peers_;
  int finishing_ = 0;
  Outcome outcome_;
};

}  // namespace

Outcome play(std::span<const std::uint8_t> script, const Manner& manner) {
  return World(script, manner).run();
}

}  // namespace classgate::connection_test
