#pragma once

#include <event2/event.h>
#include <event2/http.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <expected>
#include <fstream>
#include <list>
#include <memory>
#include <random>
#include <string>

#include "classifier.h"

namespace classify {

struct Options {
  std::string address = "127.0.0.1";
  std::uint16_t port = 9000;  // 0: the kernel chooses
  std::size_t concurrency = 50;
  std::chrono::microseconds service_time{};
  enum class Spread { fixed, exponential, heavy } spread = Spread::fixed;
  std::size_t slowdown_beyond = 0;  // 0: never
  double slowdown_power = 1;
  std::size_t batch = 0;  // 0: one by one, else in groups of up to so many
  std::chrono::microseconds batch_wait{5'000};
  std::size_t fail_beyond = 0;  // 503 when more than so many are in it; 0: never
  double rate_limit = 0;        // 429 beyond so many a second; 0: never
  std::string order_log;        // empty: none
};

// A classify service as a model team would run it: one thread, a bounded number of requests
// computed at once, the others waiting inside. Slow when asked to be, slower still when it is given
// too much. Or one that batches, as Triton and TEI do: one group after the other, of up to so many,
// each taking as long as the longest in it. A full group begins at once, another one `batch_wait`
// after its first request came.
class Service {
 public:
  static std::expected<std::unique_ptr<Service>, std::string> open(const Options& options,
                                                                   const Classifier& classifier);
  ~Service();
  std::uint16_t port() const { return port_; }
  void run();   // until stop()
  void stop();  // from a signal event of the same base
  event_base* base() { return base_.get(); }

 private:
  struct Job;
  struct FreeBase {
    void operator()(event_base* base) const { event_base_free(base); }
  };
  struct FreeEvent {
    void operator()(event* timer) const { event_free(timer); }
  };
  struct FreeHttp {
    void operator()(evhttp* http) const { evhttp_free(http); }
  };
  struct Answer {
    int status = 200;
    std::string body;
  };

  Service(const Options& options, const Classifier& classifier);
  static void on_request(evhttp_request* request, void* self);
  static void on_computed(int, short, void* job);
  static void on_connection_closed(evhttp_connection* connection, void* job);
  static void on_batch_wait_over(int, short, void* self);
  static void on_group_computed(int, short, void* self);

  void receive(evhttp_request* request);
  void set_concurrency(const std::string& path, evhttp_request* request);
  void wait(Job& job);
  void watch(Job& job);
  void compute(Job& job);
  void finish(Job& job);
  void start_waiting();
  void gather();
  void begin_group();
  bool is_too_many_a_second();
  Answer answer(const std::string& path, evhttp_request* request) const;
  Answer classify_one(const std::string& body) const;
  Answer classify_batch(const std::string& body) const;
  Answer echo_headers(evhttp_request* request) const;
  std::string stats() const;
  std::chrono::microseconds service_time_of(const std::string& path, evhttp_request* request,
                                            std::size_t items) const;
  std::chrono::microseconds spread(std::chrono::microseconds mean) const;
  void note_order(const std::string& path, evhttp_request* request);

  Options options_;
  const Classifier& classifier_;
  std::unique_ptr<event_base, FreeBase> base_;
  std::unique_ptr<evhttp, FreeHttp> http_;
  std::uint16_t port_ = 0;
  std::ofstream order_;
  std::list<std::unique_ptr<Job>> jobs_;  // in service: computing or waiting
  mutable std::mt19937_64 random_;
  std::deque<Job*> waiting_;
  std::size_t computing_ = 0;
  std::deque<Job*> group_;  // those computed together
  std::unique_ptr<event, FreeEvent> batch_wait_over_;
  std::unique_ptr<event, FreeEvent> group_computed_;
  double allowance_ = 1;  // of the rate limit: of a tenth of a second at most
  std::chrono::steady_clock::time_point allowed_at_ = std::chrono::steady_clock::now();

  std::uint64_t started_ = 0;
  std::uint64_t finished_ = 0;
  std::uint64_t finished_for_nobody_ = 0;
  std::size_t max_running_ = 0;
};

}  // namespace classify
