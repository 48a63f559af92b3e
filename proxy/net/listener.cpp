#include "proxy/net/listener.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <system_error>

#include "proxy/net/listen_beside.h"

namespace classgate::proxy::net {
namespace {

constexpr std::chrono::milliseconds pause_time{100};

std::string explain_bind(int error, const std::string& address) {
  const std::string reason = std::generic_category().message(error);
  if (error == EADDRINUSE)
    return "cannot listen on " + address + ": " + reason +
           " (another program has this port; stop it or change \"listen\")";
  if (error == EACCES)
    return "cannot listen on " + address + ": " + reason +
           " (a port under 1024 needs the capability CAP_NET_BIND_SERVICE)";
  return "cannot listen on " + address + ": " + reason + " (see \"listen\" in the conf)";
}

SocketAddress local_address(const Fd& socket) {
  SocketAddress address;
  address.length = sizeof address.storage;
  ::getsockname(socket.get(), address.get(), &address.length);
  return address;
}

// Inherited by every accepted socket: answers are written whole, Nagle would only delay them.
void dont_delay(const Fd& socket) {
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

struct Owner {
  uid_t user = static_cast<uid_t>(-1);  // -1: unchanged
  gid_t group = static_cast<gid_t>(-1);
};

// "USER", "USER:GROUP" or ":GROUP", by name or number.
std::expected<Owner, std::string> find_owner(const std::string& text) {
  Owner owner;
  const std::size_t colon = std::min(text.find(':'), text.size());
  const std::string user = text.substr(0, colon);
  const std::string group = colon < text.size() ? text.substr(colon + 1) : std::string();
  const auto number = [](const std::string& name) -> std::optional<unsigned> {
    unsigned value = 0;
    const char* const end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data(), end, value);
    return error == std::errc{} && stop == end ? std::optional(value) : std::nullopt;
  };
  if (const passwd* const entry = user.empty() ? nullptr : ::getpwnam(user.c_str()))
    owner.user = entry->pw_uid;
  else if (!user.empty() && !number(user))
    return std::unexpected("there is no user " + user);
  else if (!user.empty())
    owner.user = *number(user);
  if (const ::group* const entry = group.empty() ? nullptr : ::getgrnam(group.c_str()))
    owner.group = entry->gr_gid;
  else if (!group.empty() && !number(group))
    return std::unexpected("there is no group " + group);
  else if (!group.empty())
    owner.group = *number(group);
  return owner;
}

int option_of(int fd, int option) {
  int value = -1;
  socklen_t size = sizeof value;
  ::getsockopt(fd, SOL_SOCKET, option, &value, &size);
  return value;
}

// Sockets that all have it, and one owner, may be bound to the same address (socket(7)).
void set_shares_port(int fd, bool shares) {
  const int value = shares ? 1 : 0;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &value, sizeof value);
}

std::expected<ListeningSocket, std::string> open_socket(const conf::Address& address,
                                                        bool shares_port) {
  const auto resolved = resolve(address, true);
  if (!resolved) return std::unexpected(resolved.error());
  const bool is_v6 = resolved->storage.ss_family == AF_INET6;
  const bool takes_both = is_v6 && address.host == "*";
  Fd fd(::socket(resolved->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  const int v6_only = takes_both ? 0 : 1;
  if (fd && shares_port) set_shares_port(fd.get(), true);
  if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      (is_v6 && ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof v6_only) != 0) ||
      ::bind(fd.get(), resolved->get(), resolved->length) != 0 ||
      ::listen(fd.get(), SOMAXCONN) != 0)
    return std::unexpected(explain_bind(errno, address.text));
  if (shares_port) set_shares_port(fd.get(), false);
  dont_delay(fd);
  const SocketAddress local = local_address(fd);
  return ListeningSocket{std::move(fd), local, address, takes_both};
}

}  // namespace

std::string ListeningSocket::text() const {
  if (local.storage.ss_family == AF_UNIX) return "unix:" + local.text();
  return takes_both ? "*:" + std::to_string(local.port()) : local.text();
}

std::expected<ListeningSocket, std::string> listen_on(const conf::Address& address,
                                                      const UnixAccess& access) {
  if (address.is_unix) {
    auto socket = listen_on_path(address.host, access, "listen");
    if (socket) socket->wanted = address;
    return socket;
  }
  return open_socket(address, false);
}

std::expected<ListeningSocket, std::string> listen_beside(
    const conf::Address& address, const UnixAccess& access,
    const std::vector<std::shared_ptr<const ListeningSocket>>& own) {
  std::vector<int> same_port;
  for (const auto& socket : own)
    if (socket->local.storage.ss_family != AF_UNIX && socket->local.port() == address.port)
      same_port.push_back(socket->fd.get());
  if (address.is_unix || same_port.empty()) return listen_on(address, access);
  // SO_REUSEPORT for this moment only: as long as it is set, another process of the same user could
  // listen on our port and take connections.
  for (const int fd : same_port) set_shares_port(fd, true);
  auto socket = open_socket(address, true);
  for (const int fd : same_port) set_shares_port(fd, false);
  return socket;
}

// The filter sees the TCP header (RFC 9293 section 3.1): SYN without ACK is dropped.
void stop_arrivals(const ListeningSocket& socket) {
  std::array drop_syn{
      sock_filter{BPF_LD | BPF_B | BPF_ABS, 0, 0, 13},
      sock_filter{BPF_ALU | BPF_AND | BPF_K, 0, 0, 0x12},
      sock_filter{BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0x02},
      sock_filter{BPF_RET | BPF_K, 0, 0, 0},
      sock_filter{BPF_RET | BPF_K, 0, 0, 0xffffffff},
  };
  const sock_fprog program{drop_syn.size(), drop_syn.data()};
  ::setsockopt(socket.fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

std::expected<ListeningSocket, std::string> listen_on_path(const std::string& path,
                                                           const UnixAccess& access,
                                                           std::string_view key) {
  const auto fail = [&](const std::string& why) {
    return std::unexpected("cannot listen on " + path + ": " + why + " (" + std::string(key) + ")");
  };
  const auto local_or_error = unix_address(path);
  if (!local_or_error) return fail("the path is too long");
  const SocketAddress& local = *local_or_error;
  const auto owner = find_owner(access.owner);
  if (!owner) return fail(owner.error());
  const auto open = [] {
    return Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  };
  Fd fd = open();
  if (!fd) return fail(std::generic_category().message(errno));
  if (::bind(fd.get(), local.get(), local.length) != 0) {
    if (errno != EADDRINUSE) return fail(std::generic_category().message(errno));
    struct stat found{};
    if (::lstat(path.c_str(), &found) == 0 && !S_ISSOCK(found.st_mode))
      return fail("something else than a socket is there");
    const Fd probe = open();
    if (!probe || ::connect(probe.get(), local.get(), local.length) == 0 || errno == EAGAIN)
      return fail("another program answers there");
    if (errno != ECONNREFUSED || ::unlink(path.c_str()) != 0 ||
        ::bind(fd.get(), local.get(), local.length) != 0)
      return fail(std::generic_category().message(errno));
  }
  // Before listen(): until then nobody can connect.
  constexpr auto unchanged = static_cast<unsigned>(-1);
  const bool has_owner = owner->user != unchanged || owner->group != unchanged;
  if ((has_owner && ::chown(path.c_str(), owner->user, owner->group) != 0) ||
      ::chmod(path.c_str(), access.mode) != 0 || ::listen(fd.get(), SOMAXCONN) != 0) {
    const int error = errno;
    ::unlink(path.c_str());
    return fail(std::generic_category().message(error));
  }
  return ListeningSocket{std::move(fd), local, {{}, 0, path}};
}

std::expected<ListeningSocket, std::string> adopt(int number) {
  Fd fd(number);
  const int type = option_of(number, SO_TYPE);
  const int is_listening = option_of(number, SO_ACCEPTCONN);
  if (type != SOCK_STREAM || is_listening != 1)
    return std::unexpected("descriptor " + std::to_string(number) +
                           " was passed to us but is no listening stream socket "
                           "(ListenStream= in the socket unit, Accept=no)");
  ::fcntl(number, F_SETFL, ::fcntl(number, F_GETFL) | O_NONBLOCK);
  ::fcntl(number, F_SETFD, FD_CLOEXEC);
  dont_delay(fd);
  const SocketAddress local = local_address(fd);
  int v6_only = 1;
  socklen_t size = sizeof v6_only;
  const bool takes_both = local.storage.ss_family == AF_INET6 &&
                          ::getsockopt(number, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, &size) == 0 &&
                          v6_only == 0;
  return ListeningSocket{std::move(fd), local, {}, takes_both};
}

Listener::Listener(Loop& loop, std::shared_ptr<const ListeningSocket> socket,
                   OnConnection on_connection, OnTrouble on_trouble)
    : loop_(loop),
      socket_(std::move(socket)),
      on_connection_(std::move(on_connection)),
      on_trouble_(std::move(on_trouble)),
      event_(make_event(loop.base(), socket_->fd.get(), EV_READ | EV_PERSIST, on_event, this)),
      pause_(loop, [this] { listen_again(); }) {
  add_event(event_.get());
}

void Listener::accept_some(int limit) {
  for (int i = 0; i < limit; ++i) {
    SocketAddress client;
    client.length = sizeof client.storage;
    Fd fd(::accept4(socket_->fd.get(), client.get(), &client.length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) {
      loop_.guard([&] { on_connection_(std::move(fd), client); });
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      const int error = errno;
      pause();
      loop_.guard([this, error] { on_trouble_(error); });
      return;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return;
    }
    // Anything else concerns the one connection that died in the backlog (accept(2)).
  }
}

// The backlog stays readable: without a pause the loop would spin until a descriptor is free.
void Listener::pause() {
  event_del(event_.get());
  pause_.start(pause_time);
}

// Descriptors or memory may still be short, and then the event cannot be added: a pause again.
void Listener::listen_again() {
  if (event_add(event_.get(), nullptr) != 0) pause_.start(pause_time);
}

}  // namespace classgate::proxy::net
