#include "proxy/net/loop.h"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <future>
#include <thread>

#include "proxy/net/listener.h"
#include "proxy/net/mailbox.h"
#include "proxy/net/stream.h"
#include "proxy/net/timeout_list.h"
#include "proxy/net/timer.h"
#include "tests/doctest/last_words.h"

namespace classgate::proxy::net {
namespace {

using namespace std::chrono_literals;

TEST_CASE("time stands still within a turn, and what is retired lives until its end") {
  struct Object final : Retirable {
    explicit Object(bool& flag) : gone(flag) {}
    ~Object() override { gone = true; }
    bool& gone;
  };
  Loop loop;
  bool gone = false;
  bool was_alive = false;
  bool time_stood = false;
  Mailbox<int> mailbox(loop, [&](int) {
    const Time before = loop.now();
    loop.retire(std::make_unique<Object>(gone));
    const auto until = std::chrono::steady_clock::now() + 2ms;
    while (std::chrono::steady_clock::now() < until) std::this_thread::yield();
    was_alive = !gone;
    time_stood = loop.now() == before;
    loop.stop();
  });
  mailbox.send(1);
  loop.run();
  CHECK(was_alive);
  CHECK(time_stood);
  CHECK(gone);
}

TEST_CASE("letters from another thread arrive in order, each once") {
  constexpr int count = 20'000;
  Loop loop;
  std::vector<int> read;
  Mailbox<int> mailbox(loop, [&](int letter) {
    read.push_back(letter);
    if (letter == count - 1) loop.stop();
  });
  std::thread sender([&] {
    for (int i = 0; i < count; ++i) mailbox.send(i);
  });
  loop.run();
  sender.join();
  REQUIRE(read.size() == count);
  CHECK(std::ranges::is_sorted(read));
}

TEST_CASE("letters from several threads all arrive, those of one thread in its order") {
  constexpr int count = 5'000;
  Loop loop;
  std::array<int, 4> last{-1, -1, -1, -1};
  int total = 0;
  bool in_order = true;
  Mailbox<std::pair<std::size_t, int>> mailbox(loop, [&](std::pair<std::size_t, int> letter) {
    in_order = in_order && last[letter.first] + 1 == letter.second;
    last[letter.first] = letter.second;
    if (++total == 4 * count) loop.stop();
  });
  std::vector<std::thread> senders;
  for (std::size_t who = 0; who < 4; ++who)
    senders.emplace_back([&mailbox, who] {
      for (int i = 0; i < count; ++i) mailbox.send({who, i});
    });
  loop.run();
  for (std::thread& sender : senders) sender.join();
  CHECK(in_order);
}

TEST_CASE("a letter that a loop sends itself is read after the event that is being handled") {
  Loop loop;
  std::vector<int> read;
  bool handling = false;
  bool was_nested = false;
  Mailbox<int>* self = nullptr;
  Mailbox<int> mailbox(loop, [&](int letter) {
    was_nested = was_nested || handling;
    handling = true;
    read.push_back(letter);
    if (letter < 4) {
      self->send(letter * 2 + 1);
      self->send(letter * 2 + 2);
    } else if (read.size() == 9) {
      loop.stop();
    }
    handling = false;
  });
  self = &mailbox;
  mailbox.send(0);
  loop.run();
  CHECK_FALSE(was_nested);
  CHECK(read == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8});
}

struct Alarm {
  explicit Alarm(std::function<void()> what) : action(std::move(what)), timeout(ring, this) {}
  static void ring(void* self) { static_cast<Alarm*>(self)->action(); }
  std::function<void()> action;
  Timeout timeout;
};

TEST_CASE("timeouts fall due in the order in which they were set, not before their time") {
  Loop loop;
  TimeoutList list(loop, 20ms);
  std::vector<int> rang;
  const Time start = loop.now();
  Time first{};
  Alarm a([&] {
    first = std::chrono::steady_clock::now();
    rang.push_back(1);
  });
  Alarm b([&] { rang.push_back(2); });
  Alarm c([&] {
    rang.push_back(3);
    loop.stop();
  });
  list.set(b.timeout);
  list.set(a.timeout);
  list.set(b.timeout);  // moves to the end
  list.set(c.timeout);
  loop.run();
  CHECK(rang == std::vector<int>{1, 2, 3});
  CHECK(first - start >= 20ms);
  CHECK_FALSE(a.timeout.is_set());
}

TEST_CASE(
    "timers fall due in their order: moved ones when they were moved to, stopped ones never") {
  Loop loop;
  std::string order;
  Timer stopped(loop, [&] { order += 's'; });
  Timer moved(loop, [&] { order += 'm'; });
  Timer last(loop, [&] {
    order += 'l';
    loop.stop();
  });
  Timer stops(loop, [&] {
    order += 'x';
    stopped.stop();
    moved.start(10ms);
  });
  {
    Timer gone(loop, [&] { order += 'g'; });
    gone.start(1ms);
  }
  last.start(30ms);
  moved.start(2ms);
  stops.start(1ms);
  stopped.start(3ms);
  moved.start(5ms);
  loop.run();
  CHECK(order == "xml");
}

TEST_CASE("a timer that starts itself at once again lets the others have their turns") {
  Loop loop;
  int turns = 0, others = 0;
  Mailbox<int> mailbox(loop, [&](int&) { ++others; });
  Timer busy(loop, [&] {
    if (++turns == 3) return loop.stop();
    busy.start(0ms);
    mailbox.send(1);
  });
  busy.start(0ms);
  loop.run();
  CHECK(others == 2);
}

TEST_CASE("a stream that is given up sends nothing any more, though it is still connecting") {
  Loop loop;
  const auto socket = listen_on({"127.0.0.1", 0, "127.0.0.1:0"});
  REQUIRE(socket.has_value());
  struct Silent final : Stream::Handler {
    void on_readable() override { ++told; }
    void on_drained() override { ++told; }
    void on_fault() override { ++told; }
    int told = 0;
  } handler;
  Stream stream(loop, Fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)),
                handler);
  REQUIRE(stream.connect(socket->local.get(), socket->local.length) == 0);
  stream.write("must not be sent");
  stream.give_up();
  TimeoutList list(loop, 20ms);
  Alarm later([&] { loop.stop(); });
  list.set(later.timeout);
  loop.run();
  CHECK(handler.told == 0);
  CHECK(stream.bytes_written() == 0);
  CHECK(stream.pending() == 0);
}

TEST_CASE("a new duration holds for what is set from then on, and what was set keeps its time") {
  Loop loop;
  TimeoutList list(loop, 60ms);
  std::vector<int> rang;
  const Time start = loop.now();
  Time long_one{};
  Alarm a([&] {
    long_one = std::chrono::steady_clock::now();
    rang.push_back(1);
    loop.stop();
  });
  Alarm b([&] { rang.push_back(2); });
  list.set(a.timeout);
  list.change_duration(5ms);
  CHECK(list.duration() == 5ms);
  list.set(b.timeout);
  CHECK_FALSE(list.end_oldest(1h));
  loop.run();
  CHECK(rang == std::vector<int>{2, 1});
  CHECK(long_one - start >= 60ms);
}

TEST_CASE("the one that was set first ends first, before and after a new duration") {
  Loop loop;
  TimeoutList list(loop, 1h);
  std::vector<int> ended;
  Alarm a([&] { ended.push_back(1); });
  Alarm b([&] { ended.push_back(2); });
  list.set(a.timeout);
  list.change_duration(2h);
  list.set(b.timeout);
  CHECK(list.end_oldest(0ms));
  CHECK(list.end_oldest(0ms));
  CHECK_FALSE(list.end_oldest(0ms));
  CHECK(ended == std::vector<int>{1, 2});
}

TEST_CASE("a timeout that is cancelled, or whose owner is gone, does not ring") {
  Loop loop;
  TimeoutList list(loop, 10ms);
  bool rang = false;
  Alarm cancelled([&] { rang = true; });
  auto gone = std::make_unique<Alarm>([&] { rang = true; });
  Alarm last([&] { loop.stop(); });
  list.set(cancelled.timeout);
  list.set(gone->timeout);
  list.set(last.timeout);
  cancelled.timeout.cancel();
  gone.reset();
  loop.run();
  CHECK_FALSE(rang);
}

TEST_CASE("one timeout may cancel the next one, and set itself again") {
  Loop loop;
  TimeoutList list(loop, 5ms);
  int times = 0;
  bool victim_rang = false;
  Alarm victim([&] { victim_rang = true; });
  Alarm* self = nullptr;
  Alarm again([&] {
    victim.timeout.cancel();
    if (++times == 3)
      loop.stop();
    else
      list.set(self->timeout);
  });
  self = &again;
  list.set(again.timeout);
  list.set(victim.timeout);
  loop.run();
  CHECK(times == 3);
  CHECK_FALSE(victim_rang);
}

TEST_CASE("a list that ends lets go of its timeouts") {
  Loop loop;
  Alarm alarm([] {});
  {
    TimeoutList list(loop, 1s);
    list.set(alarm.timeout);
    CHECK(alarm.timeout.is_set());
  }
  CHECK_FALSE(alarm.timeout.is_set());
}

TEST_CASE(
    "who touches a loop that runs on another thread ends the process, and before and after may") {
  Loop loop;
  struct Nothing final : Retirable {};
  struct Handler final : Stream::Handler {
    void on_readable() override {}
    void on_drained() override {}
    void on_fault() override {}
  } handler;
  struct Later final : Deferred {
    void on_next_turn() override {}
  } later;
  std::array<int, 2> ends{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) == 0);
  const Fd other_end(ends[1]);
  auto stream = std::make_unique<Stream>(loop, Fd(ends[0]), handler);
  Timer timer(loop, [] {});
  auto list = std::make_unique<TimeoutList>(loop, 1h);
  Alarm alarm([] {});
  std::promise<void> runs;
  Mailbox<int> letters(loop, [&](int is_last) { is_last != 0 ? loop.stop() : runs.set_value(); });

  using Deed = std::function<void()>;
  const std::vector<std::pair<const char*, Deed>> deeds = {
      {"now", [&] { loop.now(); }},
      {"stop", [&] { loop.stop(); }},
      {"run", [&] { loop.run(); }},
      {"retire", [&] { loop.retire(std::make_unique<Nothing>()); }},
      {"call_next_turn", [&] { loop.call_next_turn(later); }},
      {"forget_deferred", [&] { loop.forget_deferred(later); }},
      {"at_turn_end", [&] { loop.at_turn_end([] {}); }},
      {"at_exception", [&] { loop.at_exception([](const std::exception&) {}); }},
      {"base", [&] { loop.base(); }},
      {"read_scratch", [&] { loop.read_scratch(); }},
      {"record_scratch", [&] { loop.record_scratch(); }},
      {"start a timer", [&] { timer.start(1h); }},
      {"stop a timer", [&] { timer.stop(); }},
      {"set a timeout", [&] { list->set(alarm.timeout, {}); }},
      {"end a timeout", [&] { list->end_oldest(0ms); }},
      {"change a duration", [&] { list->change_duration(2h); }},
      {"destroy a list", [&] { list.reset(); }},
      {"make a stream", [&] { Stream(loop, Fd(::dup(other_end.get())), handler); }},
      {"read", [&] { stream->read({}); }},
      {"peek", [&] { stream->peek({}); }},
      {"write", [&] { stream->write("x"); }},
      {"shut down", [&] { stream->shutdown_write(); }},
      {"give up", [&] { stream->give_up(); }},
      {"destroy a stream", [&] { stream.reset(); }},
      {"make a mailbox", [&] { Mailbox<int>(loop, [](int) {}); }},
      {"make room in a mailbox", [&] { letters.reserve(10); }},
  };
  std::thread thread([&loop] { loop.run(); });
  letters.send(0);
  runs.get_future().wait();
  for (const auto& [what, deed] : deeds) {
    CAPTURE(what);
    CHECK(test::last_words(deed).contains("broken invariant: is_current_thread()"));
  }
  letters.send(1);
  thread.join();
  for (const auto& [what, deed] : deeds) {
    if (std::string_view(what) == "run") continue;
    CAPTURE(what);
    CHECK(test::last_words(deed).empty());
  }
}

}  // namespace
}  // namespace classgate::proxy::net
