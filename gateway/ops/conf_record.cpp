#include "gateway/ops/conf_record.h"

#include <exception>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "conf/format.h"
#include "gateway/history/usage_history.h"
#include "gateway/milestones.h"
#include "gateway/wall_time.h"

namespace classgate::gateway {
namespace {

// What this conf says differently from the last one that was kept. That is read again as if its
// files stood on the disk, with today's environment and command line.
std::vector<std::string> changes_since(const std::vector<KeptConf>& kept,
                                       const conf::Loaded& loaded, conf::Sources sources) {
  const KeptConf* last = nullptr;
  for (const KeptConf& conf : kept)
    if (conf.was_in_force) last = &conf;
  if (last == nullptr) return {};
  sources.run_time.clear();
  sources.texts = std::make_shared<const conf::Texts>(texts_of(last->files, sources.conf_path));
  const auto before = conf::load(sources);
  if (before) return conf::changes_between(*before, loaded);
  return {fmt::format("what number {} said can no longer be read, to compare it", last->number)};
}

}  // namespace

std::string who_is(std::uint32_t user) { return user == 0 ? "root" : fmt::format("uid {}", user); }

std::string who_asked(const OperatorServer::Request& request) {
  if (request.is_local) return request.user ? who_is(*request.user) : std::string();
  return fmt::format("an operator at {}", request.address.text());
}

ConfRecord::ConfRecord(proxy::net::Loop& loop)
    : loop_(loop), errand_(loop, [this](const std::string& trouble) { on_written(trouble); }) {}

std::string ConfRecord::why_not(const conf::Settings& settings) {
  if (settings.ops.conf_history == 0) return {};
  const std::string folder = state_folder_of(settings);
  std::error_code error;
  if (settings.state_dir == "auto" && !std::filesystem::exists(folder, error)) return {};
  return ConfArchive(folder + "/conf").why_not();
}

void ConfRecord::note(const conf::Loaded& loaded, const conf::Sources& sources,
                      std::string_view what, std::string_view by,
                      std::optional<std::vector<std::string>> changes) {
  const std::size_t most = loaded.settings.ops.conf_history;
  if (most == 0 || sources.conf_path.empty()) return;
  if (waiting_.size() >= waiting_max)
    return log_milestone(spdlog::level::warn,
                         "conf history: {} is not kept: the disk has not taken those before", what);
  Note note{.folder = state_folder_of(loaded.settings) + "/conf",
            .most = most,
            .conf = {.at = wall_time_text(std::chrono::system_clock::now()),
                     .by = std::string(by),
                     .what = std::string(what),
                     .files = files_of(*loaded.texts, sources.conf_path)},
            .loaded = std::nullopt,
            .sources = sources};
  if (changes)
    note.conf.changes = std::move(*changes);
  else
    note.loaded = loaded;
  waiting_.push_back(std::move(note));
  write_next();
}

// On a thread of its own. Empty: it is kept, or the last one says the same.
std::string ConfRecord::write(Note& note) {
  try {
    const ConfArchive archive(note.folder);
    if (note.loaded)
      if (const auto all = archive.read())
        note.conf.changes = changes_since(all->confs, *note.loaded, note.sources);
    const auto number = archive.keep(note.conf, note.most);
    return number ? std::string() : number.error();
  } catch (const std::exception& failure) {
    return failure.what();
  }
}

void ConfRecord::write_next() {
  if (waiting_.empty() || errand_.is_under_way()) return;
  auto note = std::make_shared<Note>(std::move(waiting_.front()));
  waiting_.pop_front();
  if (!errand_.begin([note] { return write(*note); }))
    on_written("there is no thread to be had to write it");
}

// A classgate that was given no folder (a container, a try-out) runs well without.
void ConfRecord::on_written(const std::string& trouble) {
  loop_.guard([&] {
    if (!trouble.empty() && trouble != last_trouble_)
      log_milestone(spdlog::level::info, "conf history: nothing is kept: {} (state_dir)", trouble);
    last_trouble_ = trouble;
  });
  loop_.guard([this] { write_next(); });
}

}  // namespace classgate::gateway
