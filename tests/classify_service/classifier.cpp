#include "classifier.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <fstream>

namespace classify {
namespace {

template <typename Visit>
void for_each_word(std::string_view text, Visit visit) {
  std::string word;
  const auto flush = [&] {
    if (word.size() > 2) visit(word);  // "a", "of", "we" say nothing
    word.clear();
  };
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) || byte >= 0x80)
      word += static_cast<char>(std::tolower(byte));
    else
      flush();
  }
  flush();
}

}  // namespace

std::expected<std::vector<Example>, std::string> read_examples(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::unexpected(path + ": cannot be read");
  std::vector<Example> examples;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line.empty() || line.front() == '#') continue;
    const std::size_t tab = line.find('\t');
    if (tab == std::string::npos || tab == 0)
      return std::unexpected(path + ":" + std::to_string(number) + ": expected label<TAB>text");
    examples.push_back({line.substr(0, tab), line.substr(tab + 1)});
  }
  if (examples.empty()) return std::unexpected(path + ": holds no examples");
  return examples;
}

Classifier::Classifier(const std::vector<Example>& examples) {
  for (const Example& example : examples) label_index(example.label);
  for (const Example& example : examples) {
    const std::size_t index = label_index(example.label);
    ++labels_[index].documents;
    ++documents_;
    for_each_word(example.text, [&](const std::string& word) {
      std::vector<std::size_t>& counts = words_[word];
      counts.resize(labels_.size());
      ++counts[index];
      ++labels_[index].words;
    });
  }
}

std::size_t Classifier::label_index(const std::string& name) {
  const auto found = std::ranges::find(labels_, name, &Label::name);
  if (found == labels_.end()) {
    labels_.push_back({name});
    return labels_.size() - 1;
  }
  return static_cast<std::size_t>(found - labels_.begin());
}

std::vector<Score> Classifier::classify(std::string_view text) const {
  std::vector<Score> scores;
  for (const Label& label : labels_)
    scores.push_back({label.name, std::log(static_cast<double>(label.documents) /
                                           static_cast<double>(documents_))});
  for_each_word(text, [&](const std::string& word) {
    const auto known = words_.find(word);
    if (known == words_.end()) return;  // the same for every label
    for (std::size_t i = 0; i < labels_.size(); ++i)
      scores[i].probability += std::log(static_cast<double>(known->second[i] + 1) /
                                        static_cast<double>(labels_[i].words + words_.size()));
  });
  const double best = std::ranges::max(scores, {}, &Score::probability).probability;
  double sum = 0;
  for (Score& score : scores) sum += score.probability = std::exp(score.probability - best);
  for (Score& score : scores) score.probability /= sum;
  std::ranges::sort(scores, [](const Score& a, const Score& b) {
    return a.probability != b.probability ? a.probability > b.probability : a.label < b.label;
  });
  return scores;
}

}  // namespace classify
