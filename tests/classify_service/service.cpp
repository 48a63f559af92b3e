#include "service.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

namespace classify {
namespace {

using nlohmann::json;

constexpr ev_ssize_t body_max = 64 * 1024 * 1024;

std::string body_of(evhttp_request* request) {
  evbuffer* buffer = evhttp_request_get_input_buffer(request);
  std::string body(evbuffer_get_length(buffer), '\0');
  evbuffer_copyout(buffer, body.data(), body.size());
  return body;
}

const char* header_of(evhttp_request* request, const char* name) {
  return evhttp_find_header(evhttp_request_get_input_headers(request), name);
}

std::string path_of(evhttp_request* request) {
  const std::string uri = evhttp_request_get_uri(request);
  return uri.substr(0, uri.find('?'));
}

// "250ms", "2s", "500us"
bool parse_duration(std::string_view text, std::chrono::microseconds& result) {
  long number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  if (error != std::errc{} || number < 0) return false;
  if (unit == "us")
    result = std::chrono::microseconds(number);
  else if (unit == "ms")
    result = std::chrono::milliseconds(number);
  else if (unit == "s")
    result = std::chrono::seconds(number);
  else
    return false;
  return true;
}

void send(evhttp_request* request, int status, const std::string& body, const char* type) {
  evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", type);
  evbuffer* out = evhttp_request_get_output_buffer(request);
  evbuffer_add(out, body.data(), body.size());
  evhttp_send_reply(request, status, nullptr, nullptr);
}

// Whether the other side has closed, also when evhttp has not looked yet.
bool has_left(evhttp_connection* connection) {
  char byte;
  const int fd = bufferevent_getfd(evhttp_connection_get_bufferevent(connection));
  return ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

timeval time_of(std::chrono::microseconds time) {
  return {static_cast<time_t>(time.count() / 1'000'000),
          static_cast<suseconds_t>(time.count() % 1'000'000)};
}

// With the kernel's exact clock: by its coarse one, which libevent takes by default, 2 ms are 4.
event_base* new_base() {
  event_config* config = event_config_new();
  event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
  event_base* base = event_base_new_with_config(config);
  event_config_free(config);
  return base;
}

std::string error_body(std::string_view text) { return json{{"error", text}}.dump(); }

}  // namespace

// One request in service. The answer is ready from the start; what takes time is pretending.
struct Service::Job {
  Service& service;
  evhttp_request* request;  // null when its client has gone
  evhttp_connection* connection;
  Answer answer;
  std::string type = "application/json";
  std::chrono::microseconds takes{};
  std::chrono::steady_clock::time_point came = std::chrono::steady_clock::now();
  event* timer = nullptr;
  std::list<std::unique_ptr<Job>>::iterator self;
  Job(Service& s, evhttp_request* r)
      : service(s), request(r), connection(evhttp_request_get_connection(r)) {}
  ~Job() {
    if (timer != nullptr) event_free(timer);
  }
};

Service::Service(const Options& options, const Classifier& classifier)
    : options_(options),
      classifier_(classifier),
      base_(new_base()),
      http_(evhttp_new(base_.get())),
      batch_wait_over_(evtimer_new(base_.get(), on_batch_wait_over, this)),
      group_computed_(evtimer_new(base_.get(), on_group_computed, this)) {}

Service::~Service() = default;

std::expected<std::unique_ptr<Service>, std::string> Service::open(const Options& options,
                                                                   const Classifier& classifier) {
  std::unique_ptr<Service> service(new Service(options, classifier));
  evhttp* http = service->http_.get();
  evhttp_set_max_body_size(http, body_max);
  evhttp_set_allowed_methods(http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD |
                                       EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS |
                                       EVHTTP_REQ_PATCH);
  evhttp_set_gencb(http, on_request, service.get());
  if (!options.order_log.empty()) {
    service->order_.open(options.order_log, std::ios::app);
    if (!service->order_) return std::unexpected(options.order_log + ": cannot be written");
  }
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(options.port);
  socklen_t length = sizeof address;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (fd < 0 || ::inet_pton(AF_INET, options.address.c_str(), &address.sin_addr) != 1 ||
      ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd, 4096) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0 ||
      evhttp_accept_socket(http, fd) != 0) {
    const std::string why = std::strerror(errno);
    if (fd >= 0) ::close(fd);
    return std::unexpected("cannot listen on " + options.address + ":" +
                           std::to_string(options.port) + ": " + why);
  }
  service->port_ = ntohs(address.sin_port);
  return service;
}

void Service::run() { event_base_dispatch(base_.get()); }
void Service::stop() { event_base_loopbreak(base_.get()); }

void Service::on_request(evhttp_request* request, void* self) {
  static_cast<Service*>(self)->receive(request);
}

void Service::receive(evhttp_request* request) {
  const std::string path = path_of(request);
  if (path == "/stats") return send(request, 200, stats(), "application/json");
  if (path == "/stall") {  // as a model that is being loaded: nothing moves for two seconds
    ::sleep(2);
    return send(request, 200, "{}", "application/json");
  }
  if (path.starts_with("/concurrency/")) return set_concurrency(path, request);
  if (path == "/stats/reset") {
    started_ = finished_ = finished_for_nobody_ = 0;
    max_running_ = jobs_.size();
    return send(request, 200, "{}", "application/json");
  }
  note_order(path, request);
  // Refused before any work, as a limit in front of the model does it.
  if (is_too_many_a_second())
    return send(request, 429, error_body("too many requests"), "application/json");
  if (options_.fail_beyond > 0 && jobs_.size() >= options_.fail_beyond)
    return send(request, 503, error_body("out of memory"), "application/json");
  jobs_.push_back(std::make_unique<Job>(*this, request));
  Job& job = *jobs_.back();
  job.self = std::prev(jobs_.end());
  ++started_;
  max_running_ = std::max(max_running_, jobs_.size());
  job.answer = answer(path, request);
  if (path.starts_with("/echo")) job.type = "application/octet-stream";
  std::size_t items = 0;
  if (path == "/v1/classify/batch" && job.answer.status == 200)
    items = json::parse(job.answer.body)["results"].size();
  job.takes = service_time_of(path, request, items);
  if (options_.batch > 0) {
    wait(job);
    gather();
  } else if (computing_ < options_.concurrency) {
    compute(job);
  } else {
    wait(job);
  }
}

bool Service::is_too_many_a_second() {
  if (options_.rate_limit <= 0) return false;
  const auto now = std::chrono::steady_clock::now();
  const double passed = std::chrono::duration<double>(now - allowed_at_).count();
  allowed_at_ = now;
  allowance_ =
      std::min(allowance_ + passed * options_.rate_limit, std::max(options_.rate_limit / 10, 1.0));
  if (allowance_ < 1) return true;
  --allowance_;
  return false;
}

// As a service that loses a part of itself and gets it back: "/concurrency/25".
void Service::set_concurrency(const std::string& path, evhttp_request* request) {
  const std::size_t wanted = std::strtoul(path.c_str() + path.rfind('/') + 1, nullptr, 10);
  options_.concurrency = std::max<std::size_t>(wanted, 1);
  while (!waiting_.empty() && computing_ < options_.concurrency) start_waiting();
  send(request, 200, "{}", "application/json");
}

void Service::wait(Job& job) {
  watch(job);
  waiting_.push_back(&job);
}

// The client may leave before the answer is ready, and evhttp then frees the request under us.
void Service::watch(Job& job) {
  evhttp_connection_set_closecb(job.connection, on_connection_closed, &job);
}

std::chrono::microseconds Service::service_time_of(const std::string& path, evhttp_request* request,
                                                   std::size_t items) const {
  std::chrono::microseconds takes{};
  if (const char* wanted = header_of(request, "X-Service-Time");
      wanted && parse_duration(wanted, takes))
    return takes;
  if (!path.starts_with("/v1/classify")) return takes;
  return spread(options_.service_time + options_.service_time * static_cast<int>(items) / 10);
}

// The same mean, otherwise spread: exponentially, or with the heavy tail of a Pareto law (1.5).
std::chrono::microseconds Service::spread(std::chrono::microseconds mean) const {
  if (options_.spread == Options::Spread::fixed) return mean;
  const double unit = (static_cast<double>(random_() >> 11) + 0.5) * 0x1p-53;
  const double factor = options_.spread == Options::Spread::exponential
                            ? -std::log(unit)
                            : std::pow(unit, -1 / 1.5) / 3;
  return std::chrono::duration_cast<std::chrono::microseconds>(mean * factor);
}

void Service::compute(Job& job) {
  ++computing_;
  std::chrono::microseconds takes = job.takes;
  if (options_.slowdown_beyond > 0 && jobs_.size() > options_.slowdown_beyond)
    takes = std::chrono::duration_cast<std::chrono::microseconds>(
        takes *
        std::pow(static_cast<double>(jobs_.size()) / static_cast<double>(options_.slowdown_beyond),
                 options_.slowdown_power));
  if (takes.count() == 0) return finish(job);
  if (job.request != nullptr) watch(job);
  job.timer = evtimer_new(base_.get(), on_computed, &job);
  const timeval time = time_of(takes);
  evtimer_add(job.timer, &time);
}

void Service::on_computed(int, short, void* self) {
  Job& job = *static_cast<Job*>(self);
  job.service.finish(job);
}

void Service::on_connection_closed(evhttp_connection*, void* self) {
  static_cast<Job*>(self)->request = nullptr;  // evhttp frees it; we compute on, as models do
}

void Service::finish(Job& job) {
  ++finished_;
  --computing_;
  if (job.request == nullptr) {
    ++finished_for_nobody_;
  } else {
    evhttp_connection_set_closecb(job.connection, nullptr, nullptr);
    if ((job.timer != nullptr || options_.batch > 0) && has_left(job.connection))
      ++finished_for_nobody_;
    // Our last word on this request: it must not be counted as running once its answer is out.
    const std::unique_ptr<Job> done = std::move(*job.self);
    jobs_.erase(done->self);
    send(done->request, done->answer.status, done->answer.body, done->type.c_str());
    return start_waiting();
  }
  jobs_.erase(job.self);
  start_waiting();
}

// Begins a group, or says when the next one does.
void Service::gather() {
  if (!group_.empty() || waiting_.empty()) return;
  const auto waited = std::chrono::steady_clock::now() - waiting_.front()->came;
  if (waiting_.size() >= options_.batch || waited >= options_.batch_wait) return begin_group();
  if (evtimer_pending(batch_wait_over_.get(), nullptr) != 0) return;
  const timeval left =
      time_of(std::chrono::duration_cast<std::chrono::microseconds>(options_.batch_wait - waited) +
              std::chrono::microseconds(1));
  evtimer_add(batch_wait_over_.get(), &left);
}

void Service::begin_group() {
  evtimer_del(batch_wait_over_.get());
  std::chrono::microseconds longest{};
  while (group_.size() < options_.batch && !waiting_.empty()) {
    group_.push_back(waiting_.front());
    waiting_.pop_front();
    longest = std::max(longest, group_.back()->takes);
  }
  computing_ = group_.size();
  const timeval time = time_of(longest);
  evtimer_add(group_computed_.get(), &time);
}

void Service::on_batch_wait_over(int, short, void* self) { static_cast<Service*>(self)->gather(); }

void Service::on_group_computed(int, short, void* self) {
  auto& service = *static_cast<Service*>(self);
  // Answering may bring the next requests: they are of the next group.
  for (Job* job : std::exchange(service.group_, {})) service.finish(*job);
  service.gather();
}

void Service::start_waiting() {
  if (options_.batch > 0) return;
  if (waiting_.empty() || computing_ >= options_.concurrency) return;
  Job& next = *waiting_.front();
  waiting_.pop_front();
  compute(next);
}

Service::Answer Service::answer(const std::string& path, evhttp_request* request) const {
  const bool is_post = evhttp_request_get_command(request) == EVHTTP_REQ_POST;
  if (path == "/v1/classify" || path == "/v1/classify/batch") {
    if (!is_post) return {405, error_body("use POST")};
    return path == "/v1/classify" ? classify_one(body_of(request))
                                  : classify_batch(body_of(request));
  }
  if (path == "/health") return {200, R"({"status":"ok"})"};
  if (path == "/status")
    return {200, json{{"labels", classifier_.label_count()},
                      {"documents", classifier_.document_count()},
                      {"vocabulary", classifier_.vocabulary_size()}}
                     .dump()};
  if (path == "/headers") return echo_headers(request);
  if (path.starts_with("/echo")) return {200, body_of(request)};
  if (header_of(request, "X-Service-Time")) return {200, "{}"};
  return {404, error_body("no such path")};
}

namespace {

json result_of(const Classifier& classifier, const std::string& text) {
  const std::vector<Score> scores = classifier.classify(text);
  json top = json::array();
  for (std::size_t i = 0; i < std::min<std::size_t>(3, scores.size()); ++i)
    top.push_back({{"label", scores[i].label}, {"probability", scores[i].probability}});
  return {
      {"label", scores.front().label}, {"confidence", scores.front().probability}, {"scores", top}};
}

}  // namespace

Service::Answer Service::classify_one(const std::string& body) const {
  const json request = json::parse(body, nullptr, false);
  if (!request.is_object() || !request.contains("text") || !request["text"].is_string())
    return {400, error_body(R"(expected {"text": "..."})")};
  return {200, result_of(classifier_, request["text"]).dump()};
}

Service::Answer Service::classify_batch(const std::string& body) const {
  const json request = json::parse(body, nullptr, false);
  if (!request.is_object() || !request.contains("items") || !request["items"].is_array())
    return {400, error_body(R"(expected {"items": ["...", ...]})")};
  json results = json::array();
  for (const json& item : request["items"]) {
    if (!item.is_string()) return {400, error_body("every item must be a string")};
    results.push_back(result_of(classifier_, item));
  }
  return {200, json{{"results", results}}.dump()};
}

Service::Answer Service::echo_headers(evhttp_request* request) const {
  json seen = json::object();
  const evkeyvalq* headers = evhttp_request_get_input_headers(request);
  for (const evkeyval* header = headers->tqh_first; header != nullptr;
       header = header->next.tqe_next)
    seen[header->key].push_back(header->value);
  return {200, seen.dump()};
}

std::string Service::stats() const {
  return json{{"started", started_},
              {"finished", finished_},
              {"finished_for_nobody", finished_for_nobody_},
              {"running", jobs_.size()},
              {"waiting", waiting_.size()},
              {"max_running", max_running_}}
      .dump();
}

void Service::note_order(const std::string& path, evhttp_request* request) {
  if (!order_.is_open()) return;
  const char* id = header_of(request, "X-Request-Id");
  const char* sequence = header_of(request, "X-Seq");
  order_ << path << ' ' << (id ? id : "-") << ' ' << (sequence ? sequence : "-") << std::endl;
}

}  // namespace classify
