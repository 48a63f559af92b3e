#include "gateway/turn_line.h"

#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "proxy/net/timer.h"

namespace classgate::gateway {
namespace {

// Has so many turns' worth in store, and notes each.
class Glutton final : public TurnLine::Member {
 public:
  Glutton(TurnLine& line, std::vector<int>& notes, int number, int store)
      : line_(line), notes_(notes), number_(number), store_(store) {
    line_.join(*this);
  }
  void on_turn() noexcept override {
    notes_.push_back(number_);
    if (--store_ > 0) line_.join(*this);
    if (on_note) on_note();
  }
  std::function<void()> on_note;

 private:
  TurnLine& line_;
  std::vector<int>& notes_;
  const int number_;
  int store_;
};

TEST_CASE("turns: all have theirs before anybody has a second one") {
  proxy::net::Loop loop;
  TurnLine line(loop);
  std::vector<int> notes;
  std::vector<std::unique_ptr<Glutton>> all;
  constexpr int count = 40;
  for (int i = 0; i < count; ++i) all.push_back(std::make_unique<Glutton>(line, notes, i, 3));
  all.back()->on_note = [&] {
    if (notes.size() == 3 * count) loop.stop();
  };
  loop.run();
  REQUIRE(notes.size() == 3 * count);
  for (int i = 0; i < 3 * count; ++i) CHECK(notes[static_cast<std::size_t>(i)] == i % count);
}

TEST_CASE("turns: whoever comes from the network is behind one turn's worth of them") {
  proxy::net::Loop loop;
  TurnLine line(loop);
  std::vector<int> notes;
  std::vector<std::unique_ptr<Glutton>> all;
  for (int i = 0; i < 100; ++i) all.push_back(std::make_unique<Glutton>(line, notes, i, 1000));
  std::vector<std::size_t> seen;
  loop.at_turn_end([&] {
    seen.push_back(notes.size());
    if (seen.size() == 4) loop.stop();
  });
  loop.run();
  const std::size_t in_a_turn = TurnLine::most_in_a_turn;
  CHECK(seen == std::vector{in_a_turn, 2 * in_a_turn, 3 * in_a_turn, 4 * in_a_turn});
}

TEST_CASE("turns: who goes is not called, be it by another's turn, nor when the line is gone") {
  proxy::net::Loop loop;
  auto line = std::make_unique<TurnLine>(loop);
  std::vector<int> notes;
  Glutton first(*line, notes, 1, 1);
  auto second = std::make_unique<Glutton>(*line, notes, 2, 1);
  Glutton third(*line, notes, 3, 1);
  first.on_note = [&] { second.reset(); };
  third.on_note = [&] { loop.stop(); };
  loop.run();
  CHECK(notes == std::vector{1, 3});
  Glutton last(*line, notes, 4, 1);
  line.reset();
  loop.at_turn_end([&] { loop.stop(); });
  proxy::net::Timer wakes(loop, [] {});
  wakes.start(std::chrono::milliseconds(1));
  loop.run();
  CHECK(notes == std::vector{1, 3});
}

}  // namespace
}  // namespace classgate::gateway
