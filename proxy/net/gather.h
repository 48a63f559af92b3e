#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proxy/net/stream.h"

namespace classgate::proxy::net {

// Collects the pieces of one write: heads and chunk sizes that are made here, body parts that lie
// in the read buffer. One for each loop; whoever adds to it sends it before returning to the loop.
class Gather {
 public:
  // The text must stay where it is until send(). A small one behind what is written here is copied
  // there: the stream would put them together anyway.
  void add(std::string_view text) {
    if (text.empty()) return;
    if (text_.size() + text.size() > Stream::put_together_max || !ends_with_own_text())
      return pieces_.push_back({text.data(), 0, text.size()});
    text_.append(text);
    pieces_.back().size += text.size();
  }
  // What is written between these two goes to the end of the text.
  std::string& begin_text() {
    text_begin_ = text_.size();
    return text_;
  }
  void end_text() {
    const std::size_t size = text_.size() - text_begin_;
    if (ends_with_own_text())
      pieces_.back().size += size;
    else
      pieces_.push_back({nullptr, text_begin_, size});
  }

  bool is_empty() const { return pieces_.empty(); }
  void clear() {
    pieces_.clear();
    text_.clear();
  }

  void send(Stream& stream) {
    parts_.clear();
    for (const Piece& piece : pieces_) {
      const char* at = piece.at != nullptr ? piece.at : text_.data() + piece.offset;
      parts_.push_back({const_cast<char*>(at), piece.size});
    }
    stream.write(parts_);
    clear();
  }

 private:
  struct Piece {
    const char* at;  // null: in text_ at offset, which may move while it grows
    std::size_t offset;
    std::size_t size;
  };
  bool ends_with_own_text() const { return !pieces_.empty() && pieces_.back().at == nullptr; }

  std::vector<Piece> pieces_;
  std::string text_;
  std::size_t text_begin_ = 0;
  std::vector<iovec> parts_;
};

}  // namespace classgate::proxy::net
