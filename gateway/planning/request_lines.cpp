#include "gateway/planning/request_lines.h"

#include <cerrno>
#include <cstring>
#include <fstream>

#include "admission/measure/units.h"
#include "conf/format.h"
#include "conf/printable.h"

namespace classgate::planning {
namespace {

using simulation::Ending;

std::string_view word_of(Ending::Kind kind) {
  switch (kind) {
    case Ending::Kind::served: return "served";
    case Ending::Kind::failed: return "failed";
    case Ending::Kind::rejected: return "rejected";
    case Ending::Kind::abandoned: return "left";
  }
  return {};
}

std::string_view reason_of(const Ending& ending) {
  const bool has_one = ending.kind == Ending::Kind::failed || ending.kind == Ending::Kind::rejected;
  return has_one ? conf::reason_texts[conf::index_of(ending.reason)].word : std::string_view();
}

// A name must not end its column.
std::string cell(const std::string& text) { return conf::printable(text); }

class WrittenTraffic final : public NamedTraffic {
 public:
  WrittenTraffic(std::shared_ptr<std::ofstream> file, std::unique_ptr<NamedTraffic> traffic)
      : file_(std::move(file)), traffic_(std::move(traffic)) {
    *file_ << "due_s\t" << group_kind()
           << "\tclient\tattempt\tended\treason\tanswer_ms\tretry_after_s\n";
  }

  bool next(simulation::Wish& wish) override { return traffic_->next(wish); }
  bool after(const simulation::Wish& wish, const Ending& ending, Time now,
             simulation::Wish& follow) override {
    *file_ << fmt::format("{:.6f}\t{}\t{}\t{}\t{}\t{}\t{:.3f}\t{:.0f}\n",
                          measure::in_seconds(wish.at.time_since_epoch()),
                          cell(group_name(wish.group)), cell(client_name(wish.client)),
                          wish.attempt, word_of(ending.kind), reason_of(ending),
                          measure::in_ms(now - wish.at), measure::in_seconds(ending.retry_after));
    return traffic_->after(wish, ending, now, follow);
  }
  std::string group_kind() const override { return traffic_->group_kind(); }
  std::string group_name(std::uint32_t group) const override { return traffic_->group_name(group); }
  std::string client_name(std::uint32_t client) const override {
    return traffic_->client_name(client);
  }
  double progress() const override { return traffic_->progress(); }
  std::vector<std::string> remarks() const override { return traffic_->remarks(); }
  std::optional<std::chrono::system_clock::time_point> began() const override {
    return traffic_->began();
  }
  std::string complaint() const override { return traffic_->complaint(); }

 private:
  std::shared_ptr<std::ofstream> file_;
  std::unique_ptr<NamedTraffic> traffic_;
};

}  // namespace

std::expected<RequestLines, std::string> request_lines(const std::string& path) {
  errno = 0;
  const auto file = std::make_shared<std::ofstream>(path, std::ios::binary);
  const auto complaint = [path](int error) {
    return std::unexpected(
        fmt::format("{}: {}", path, error != 0 ? std::strerror(error) : "could not be written"));
  };
  if (!*file) return complaint(errno);
  return RequestLines{
      .wrap = [file](std::unique_ptr<NamedTraffic> traffic) -> std::unique_ptr<NamedTraffic> {
        return std::make_unique<WrittenTraffic>(file, std::move(traffic));
      },
      .close = [file, complaint]() -> std::expected<void, std::string> {
        errno = 0;
        file->close();
        if (*file) return {};
        return complaint(errno);
      }};
}

}  // namespace classgate::planning
