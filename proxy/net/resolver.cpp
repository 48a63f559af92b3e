#include "proxy/net/resolver.h"

// ares_search() has a successor since 1.28 (Debian 13), which 1.18 (Debian 12) does not know.
#define CARES_NO_DEPRECATED
#include <ares.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "proxy/net/srv_records.h"

namespace classgate::proxy::net {

namespace {

constexpr int udp_bytes_max = 1232;  // fits everywhere (DNS flag day 2020); more comes over TCP
constexpr int attempt_ms = 1500;     // the first one; then twice as long
constexpr int attempts = 3;          // of each nameserver
constexpr std::chrono::milliseconds at_once{0};
constexpr std::chrono::milliseconds again_after{10};  // when there was no memory
constexpr std::size_t targets_max = 256;              // of a service

void begin_library() {
  static const int status = ares_library_init(ARES_LIB_INIT_ALL);
  if (status != ARES_SUCCESS) throw std::runtime_error(ares_strerror(status));
}

bool has_none(int status) { return status == ARES_ENODATA || status == ARES_ENOTFOUND; }

std::string why_of(int status) {
  switch (status) {
    case ARES_ENODATA: return "it has no address";
    case ARES_ENOTFOUND: return "no such name";
    case ARES_ETIMEOUT: return "the nameservers do not answer";
    // c-ares says ECONNREFUSED of SERVFAIL and REFUSED too, once it has asked every nameserver.
    case ARES_ESERVFAIL:
    case ARES_EREFUSED:
    case ARES_ECONNREFUSED: return "the nameservers fail, refuse or cannot be reached";
    default: return ares_strerror(status);
  }
}

// Not multicast, 0.0.0.0/8 or "::": a filter, or somebody who lies, answers with such addresses.
bool can_be_had(const conf::IpAddress& ip) {
  const auto first = ip.is_v4() ? ip.bytes[12] : ip.bytes[0];
  const bool is_multicast = ip.is_v4() ? first >= 224 : first == 0xff;
  const bool is_unspecified = ip == conf::IpAddress{} || (ip.is_v4() && first == 0);
  return !is_multicast && !is_unspecified;
}

std::optional<conf::IpAddress> ip_of(const ares_addrinfo_node& node) {
  conf::IpAddress ip;
  if (node.ai_family == AF_INET)
    return conf::IpAddress::from_v4(reinterpret_cast<const std::uint8_t*>(
        &reinterpret_cast<const sockaddr_in*>(node.ai_addr)->sin_addr));
  if (node.ai_family != AF_INET6) return std::nullopt;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(
      &reinterpret_cast<const sockaddr_in6*>(node.ai_addr)->sin6_addr);
  std::copy_n(bytes, 16, ip.bytes.begin());
  return ip;
}

}  // namespace

// One service that is looked up: first its SRV records, then the hosts that they name.
struct Resolver::Service {
  Service(Resolver& owner, std::string asked, OnAnswer tell)
      : resolver(owner),
        name(std::move(asked)),
        on_answer(std::move(tell)),
        timer(owner.loop_, [this] {
          answer.lacks = why = why_of(ARES_ETIMEOUT);
          resolver.conclude(*this);
        }) {}
  Resolver& resolver;
  const std::string name;
  OnAnswer on_answer;
  Timer timer;
  std::size_t asking = 0;  // hosts whose answers are still to come
  Targets targets;
  Answer answer;    // what is known so far
  std::string why;  // and why that is not more
  std::optional<Result> result;
  bool is_told = false;
};

struct Resolver::Query {
  Query(Resolver& owner, std::string name, std::uint16_t port_wanted, OnAnswer tell)
      : resolver(owner),
        host(std::move(name)),
        port(port_wanted),
        on_answer(std::move(tell)),
        timer(owner.loop_, [this] {
          resolver.conclude(*this, std::unexpected(Failure{why_of(ARES_ETIMEOUT), false}));
        }) {}
  Resolver& resolver;
  const std::string host;
  const std::uint16_t port;
  OnAnswer on_answer;
  Timer timer;
  int family = AF_INET;
  int v4_status = ARES_SUCCESS;
  bool is_asking = false;  // c-ares will call back
  std::optional<Result> result;
  bool is_told = false;
};

void Resolver::DestroyChannel::operator()(ares_channeldata* channel) const {
  ares_destroy(channel);
}

Resolver::Resolver(Loop& loop, const std::vector<conf::Address>& nameservers,
                   std::chrono::milliseconds timeout)
    : loop_(loop),
      timeout_(timeout),
      process_timer_(loop, [this] { process(ARES_SOCKET_BAD, ARES_SOCKET_BAD); }),
      deliver_timer_(loop, [this] {
        loop_.guard([this] { deliver(); }, [this] { deliver_timer_.start(again_after); });
      }) {
  begin_library();
  ares_options options{};
  options.flags = ARES_FLAG_EDNS;
  options.ednspsz = udp_bytes_max;
  options.timeout = attempt_ms;
  options.tries = attempts;
  options.sock_state_cb = on_socket;
  options.sock_state_cb_data = this;
  char lookups[] = "fb";  // files, then DNS
  options.lookups = lookups;
  ares_channel channel = nullptr;
  const int status =
      ares_init_options(&channel, &options,
                        ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                            ARES_OPT_SOCK_STATE_CB | ARES_OPT_LOOKUPS);
  if (status != ARES_SUCCESS) {
    broken_ = why_of(status);
    return;
  }
  channel_.reset(channel);
  std::string servers;
  for (const conf::Address& server : nameservers)
    servers += (servers.empty() ? "" : ",") + server.text;
  if (servers.empty()) return;
  if (const int wrong = ares_set_servers_ports_csv(channel, servers.c_str()); wrong != ARES_SUCCESS)
    broken_ = why_of(wrong);
}

Resolver::~Resolver() { is_ending_ = true; }

void Resolver::look_up(const conf::Address& wanted, OnAnswer on_answer) {
  if (wanted.is_service) return look_up_service(wanted.host, std::move(on_answer));
  look_up_host(wanted.host, wanted.port, std::move(on_answer));
}

void Resolver::look_up_host(const std::string& host, std::uint16_t port, OnAnswer on_answer) {
  queries_.push_back(std::make_unique<Query>(*this, host, port, std::move(on_answer)));
  Query& query = *queries_.back();
  if (!broken_.empty()) return conclude(query, std::unexpected(Failure{broken_, false}));
  query.timer.start(timeout_);
  ask(query, AF_INET);
  process_timer_.start(at_once);
}

void Resolver::ask(Query& query, int family) {
  query.family = family;
  query.is_asking = true;
  ares_addrinfo_hints hints{};
  hints.ai_family = family;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = ARES_AI_NOSORT;
  ares_getaddrinfo(channel_.get(), query.host.c_str(), nullptr, &hints, on_result, &query);
}

void Resolver::on_result(void* told, int status, int, ares_addrinfo* found) {
  Query& query = *static_cast<Query*>(told);
  Resolver& self = query.resolver;
  if (!self.is_ending_)
    self.loop_.guard(
        [&] { self.on_result(query, status, found); },
        [&] { self.conclude(query, std::unexpected(Failure{"out of memory", false})); });
  if (found != nullptr) ares_freeaddrinfo(found);
}

// A name without IPv4 addresses, or with none that can be learnt, is asked for IPv6 ones. Some
// nameservers say that there is no such name when only the address is missing (RFC 4074).
void Resolver::on_result(Query& query, int status, const ares_addrinfo* found) {
  query.is_asking = false;
  if (query.result) return deliver_timer_.start(at_once);  // its time was over before
  Answer answer;
  int time_to_live = std::numeric_limits<int>::max();
  bool has_lies = false;
  if (status == ARES_SUCCESS) {
    for (const ares_addrinfo_node* node = found->nodes; node != nullptr; node = node->ai_next) {
      const auto ip = ip_of(*node);
      has_lies = has_lies || (ip && !can_be_had(*ip));
      if (!ip || !can_be_had(*ip)) continue;
      answer.endpoints.push_back({socket_address(*ip, query.port)});
      time_to_live = std::min(time_to_live, node->ai_ttl);
    }
    for (const ares_addrinfo_cname* name = found->cnames; name != nullptr; name = name->next)
      time_to_live = std::min(time_to_live, name->ttl);
  }
  if (!answer.endpoints.empty()) {
    answer.left_out = tidy(answer.endpoints);
    answer.time_to_live = std::chrono::seconds(std::max(time_to_live, 0));
    if (query.family == AF_INET6 && !has_none(query.v4_status))
      answer.lacks = "the nameservers tell IPv6 addresses only";
    return conclude(query, std::move(answer));
  }
  if (status == ARES_SUCCESS) status = ARES_ENODATA;
  if (query.family == AF_INET && !has_lies && status != ARES_EDESTRUCTION) {
    query.v4_status = status;
    return ask(query, AF_INET6);
  }
  if (query.family == AF_INET6 && !has_none(query.v4_status)) status = query.v4_status;
  conclude(query, std::unexpected(
                      Failure{has_lies ? "its address is one that no server has" : why_of(status),
                              has_lies || has_none(status)}));
}

// Told in a turn of its own, out of c-ares: whoever is told may look up more.
void Resolver::conclude(Query& query, Result result) {
  query.timer.stop();
  query.result = std::move(result);
  deliver_timer_.start(at_once);
}

void Resolver::deliver() {
  // Memory for all of them first: without it nothing is marked as told, and nothing is lost.
  std::vector<std::pair<OnAnswer, Result>> answers;
  answers.reserve(queries_.size() + services_.size());
  for (auto& query : queries_) {
    if (!query->result) continue;
    if (!std::exchange(query->is_told, true))
      answers.emplace_back(std::move(query->on_answer), std::move(*query->result));
  }
  std::erase_if(queries_, [](const auto& query) { return query->is_told && !query->is_asking; });
  for (auto& service : services_) {
    if (!service->result) continue;
    if (!std::exchange(service->is_told, true))
      answers.emplace_back(std::move(service->on_answer), std::move(*service->result));
  }
  std::erase_if(services_,
                [](const auto& service) { return service->is_told && service->asking == 0; });
  for (auto& [tell, result] : answers) loop_.guard([&] { tell(std::move(result)); });
}

// ---- Services ----------------------------------------------------------------------------------

void Resolver::look_up_service(const std::string& name, OnAnswer on_answer) {
  constexpr int class_internet = 1, type_srv = 33;
  services_.push_back(std::make_unique<Service>(*this, name, std::move(on_answer)));
  Service& service = *services_.back();
  service.why = broken_;
  if (!broken_.empty()) return conclude(service);
  service.timer.start(timeout_);
  ++service.asking;
  ares_search(channel_.get(), service.name.c_str(), class_internet, type_srv, on_records, &service);
  process_timer_.start(at_once);
}

void Resolver::on_records(void* told, int status, int, unsigned char* bytes, int size) {
  Service& service = *static_cast<Service*>(told);
  Resolver& self = service.resolver;
  if (self.is_ending_) return;
  --service.asking;
  const std::span<const unsigned char> message(
      bytes, bytes != nullptr ? static_cast<std::size_t>(size) : 0);
  self.loop_.guard([&] { self.on_records(service, status, message); },
                   [&] {
                     service.why = "out of memory";
                     self.conclude(service);
                   });
}

void Resolver::on_records(Service& service, int status, std::span<const unsigned char> message) {
  if (service.result) return deliver_timer_.start(at_once);  // its time was over before
  service.why = status == ARES_ENODATA ? "it has no SRV records" : why_of(status);
  if (status != ARES_SUCCESS) return conclude(service);
  auto targets = read_targets(message);
  service.why = !targets             ? targets.error()
                : targets->is_denied ? "its SRV record says that it is not there"
                                     : "it has no SRV records";
  if (!targets || targets->targets.empty()) return conclude(service);
  std::ranges::sort(targets->targets, {}, &Target::priority);
  if (targets->targets.size() > targets_max) {
    service.answer.left_out = targets->targets.size() - targets_max;
    targets->targets.resize(targets_max);
  }
  service.targets = std::move(*targets);
  // Counted as each is asked: should memory run out on the way (an exception), those that were not
  // asked are not waited for.
  for (const Target& target : service.targets.targets) {
    look_up_host(target.host, target.port, [this, &service, &target](const Result& result) {
      --service.asking;
      on_host(service, target, result);
    });
    ++service.asking;
  }
}

void Resolver::on_host(Service& service, const Target& target, const Result& result) {
  if (service.result) return deliver_timer_.start(at_once);
  Answer& answer = service.answer;
  if (result) {
    for (const Endpoint& endpoint : result->endpoints)
      answer.endpoints.push_back({endpoint.address, target.priority, target.weight});
    answer.left_out += result->left_out;
    service.targets.time_to_live = std::min(service.targets.time_to_live, result->time_to_live);
    if (!result->lacks.empty()) answer.lacks = result->lacks;
  } else {
    service.why = "its host \"" + target.host + "\": " + result.error().why;
    if (!result.error().is_certain) answer.lacks = service.why;
  }
  if (service.asking == 0) conclude(service);
}

// With what is known of its hosts, or why nothing is.
void Resolver::conclude(Service& service) {
  service.timer.stop();
  Answer& answer = service.answer;
  if (answer.endpoints.empty()) {
    service.result = std::unexpected(Failure{service.why, false});
  } else {
    answer.left_out += tidy(answer.endpoints);
    answer.time_to_live = service.targets.time_to_live;
    service.result = std::move(answer);
  }
  deliver_timer_.start(at_once);
}

// ---- Sockets of c-ares on the loop -------------------------------------------------------------

void Resolver::on_socket(void* told, int fd, int readable, int writable) {
  Resolver& self = *static_cast<Resolver*>(told);
  self.sockets_.erase(fd);
  if (self.is_ending_ || (readable == 0 && writable == 0)) return;
  const auto what = static_cast<short>(EV_PERSIST | (readable != 0 ? EV_READ : 0) |
                                       (writable != 0 ? EV_WRITE : 0));
  Event event(event_new(self.loop_.base(), fd, what, on_event, &self));
  // A socket that cannot be watched costs this attempt only: c-ares gives it up when its time is
  // over, and tries again.
  if (event && event_add(event.get(), nullptr) == 0)
    self.loop_.guard([&] { self.sockets_[fd] = std::move(event); });
}

void Resolver::on_event(int fd, short what, void* self) {
  static_cast<Resolver*>(self)->process((what & EV_READ) != 0 ? fd : ARES_SOCKET_BAD,
                                        (what & EV_WRITE) != 0 ? fd : ARES_SOCKET_BAD);
}

void Resolver::process(int read_fd, int write_fd) {
  if (!channel_) return;
  ares_process_fd(channel_.get(), read_fd, write_fd);
  timeval room{};
  const timeval* next = ares_timeout(channel_.get(), nullptr, &room);
  if (next == nullptr) return process_timer_.stop();
  // Rounded up: called too early, c-ares would do nothing, and have to be called once more.
  process_timer_.start(std::chrono::milliseconds(next->tv_sec * 1000 + next->tv_usec / 1000 + 1));
}

// ---- At once -----------------------------------------------------------------------------------

std::vector<Resolver::Result> look_up_now(const std::vector<conf::Address>& names,
                                          const std::vector<conf::Address>& nameservers,
                                          std::chrono::milliseconds timeout) {
  std::vector<Resolver::Result> results(names.size(), std::unexpected(Resolver::Failure{}));
  if (names.empty()) return results;
  Loop loop;
  Resolver resolver(loop, nameservers, timeout);
  std::size_t missing = names.size();
  for (std::size_t i = 0; i < names.size(); ++i)
    resolver.look_up(names[i], [&, i](Resolver::Result result) {
      results[i] = std::move(result);
      if (--missing == 0) loop.stop();
    });
  loop.run();
  return results;
}

bool Resolver::is_in_hosts_file(const std::string& host) {
  std::ifstream file("/etc/hosts");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string word;
    words >> word;  // the address
    while (words >> word)
      if (word == host) return true;
  }
  return false;
}

}  // namespace classgate::proxy::net
