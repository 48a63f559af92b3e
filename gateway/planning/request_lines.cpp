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

class WrittenTraffic final : public DerivedTraffic {
 public:
  WrittenTraffic(std::shared_ptr<std::ofstream> file, std::unique_ptr<NamedTraffic> traffic)
      : DerivedTraffic(std::move(traffic)), file_(std::move(file)) {
    *file_ << "due_s\t" << group_kind()
           << "\tclient\tattempt\tended\treason\tanswer_ms\tretry_after_s\n";
  }

  bool next(simulation::Wish& wish) override { return below().next(wish); }
  bool after(const simulation::Wish& wish, const Ending& ending, Time now,
             simulation::Wish& follow) override {
    *file_ << fmt::format("{:.6f}\t{}\t{}\t{}\t{}\t{}\t{:.3f}\t{:.0f}\n",
                          measure::in_seconds(wish.at.time_since_epoch()),
                          cell(group_name(wish.group)), cell(client_name(wish.client)),
                          wish.attempt, word_of(ending.kind), reason_of(ending),
                          measure::in_ms(now - wish.at), measure::in_seconds(ending.retry_after));
    return below().after(wish, ending, now, follow);
  }

 private:
  std::shared_ptr<std::ofstream> file_;
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
