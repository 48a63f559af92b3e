#include "tests/gateway/upstream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

namespace classgate::gateway::test {

Peer::Peer(FakeUpstream& upstream, proxy::net::Fd fd, int stop_fd)
    : socket(std::move(fd), stop_fd), upstream_(upstream) {}

std::optional<Message> Peer::read_request() {
  auto request = reader_.read(MessageReader::Kind::request);
  if (!request || !request->is_complete) return std::nullopt;
  const std::lock_guard lock(upstream_.mutex_);
  upstream_.requests_.push_back(*request);
  return request;
}

std::optional<Message> Peer::read_request_head() {
  auto request = reader_.read_head();
  if (!request) return std::nullopt;
  const std::lock_guard lock(upstream_.mutex_);
  upstream_.requests_.push_back(*request);
  return request;
}

bool Peer::hold() {
  std::unique_lock lock(upstream_.mutex_);
  ++upstream_.holding_;
  upstream_.released_.wait(lock, [&] { return upstream_.permits_ > 0 || upstream_.stopping_; });
  --upstream_.holding_;
  if (upstream_.permits_ > 0) --upstream_.permits_;
  return !upstream_.stopping_;
}

void Peer::work(milliseconds time) {
  std::unique_lock lock(upstream_.mutex_);
  upstream_.released_.wait_for(lock, time, [this] { return upstream_.stopping_; });
}

bool Peer::wait_gone() {
  std::string ignored;
  Socket::Got got;
  while ((got = socket.read(ignored)) == Socket::Got::some) {
  }
  return got == Socket::Got::end || got == Socket::Got::reset;
}

FakeUpstream::FakeUpstream(Script script)
    : script_(std::move(script)), listener_(listen_somewhere(port_)) {
  begin();
}

FakeUpstream::FakeUpstream(Script script, DeadPort& comes_alive)
    : script_(std::move(script)), port_(comes_alive.port()), listener_(comes_alive.listen()) {
  begin();
}

void FakeUpstream::begin() {
  std::array<int, 2> ends;
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  stop_read_.reset(ends[0]);
  stop_write_.reset(ends[1]);
  acceptor_ = std::thread([this] { accept_all(); });
}

FakeUpstream::~FakeUpstream() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  released_.notify_all();
  stop_write_.reset();  // makes the other end readable: every wait ends
  acceptor_.join();
  for (std::thread& peer : peers_) peer.join();
}

void FakeUpstream::accept_all() {
  for (;;) {
    std::array<pollfd, 2> fds{pollfd{listener_.get(), POLLIN, 0},
                              pollfd{stop_read_.get(), POLLIN, 0}};
    ::poll(fds.data(), fds.size(), -1);
    if (fds[1].revents != 0) return;
    proxy::net::Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd) continue;
    peers_.emplace_back([this, raw = std::make_shared<proxy::net::Fd>(std::move(fd))] {
      Peer peer(*this, std::move(*raw), stop_read_.get());
      if (!peer.socket.wait_word()) return;  // it only looked whether somebody is there
      {
        const std::lock_guard lock(mutex_);
        ++connections_;
      }
      ++open_;
      script_(peer);
      peer.socket.close();
      --open_;
    });
  }
}

FakeUpstream::Script FakeUpstream::each(Handler handler) {
  return [handler = std::move(handler)](Peer& peer) {
    while (const auto request = peer.read_request()) {
      handler(peer, *request);
      if (!peer.socket.is_open()) return;
    }
  };
}

FakeUpstream::Script FakeUpstream::echo_target() {
  return each([](Peer& peer, const Message& request) {
    peer.send(answer_with(request.method() + " " + request.target()));
  });
}

FakeUpstream::Script FakeUpstream::held() {
  return each([](Peer& peer, const Message& request) {
    if (peer.hold()) peer.send(answer_with(request.method() + " " + request.target()));
  });
}

void FakeUpstream::release(int count) {
  {
    const std::lock_guard lock(mutex_);
    permits_ += count;
  }
  released_.notify_all();
}

int FakeUpstream::holding() const {
  const std::lock_guard lock(mutex_);
  return holding_ - permits_;
}

int FakeUpstream::connections() const {
  const std::lock_guard lock(mutex_);
  return connections_;
}

std::vector<Message> FakeUpstream::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

std::vector<std::string> FakeUpstream::targets() const {
  std::vector<std::string> targets;
  for (const Message& request : requests()) targets.push_back(request.target());
  return targets;
}

std::string answer_with(std::string_view body, std::string_view fields, int status) {
  return "HTTP/1.1 " + std::to_string(status) +
         " Fine\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + std::string(fields) +
         "\r\n" + std::string(body);
}

}  // namespace classgate::gateway::test
