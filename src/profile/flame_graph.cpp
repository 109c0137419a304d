// A flame graph: the outermost frame at the bottom, wider where more samples were, coloured by what
// the function is there for. Frames too narrow to be seen are left out.
//
// The file needs nothing else. Without its script (in an <img>, or where scripts are off) it is a
// picture with tooltips; with it, a click on a frame zooms in, and a name can be searched for.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "profile/categories.h"
#include "profile/profile.h"
#include "text/text.h"

namespace pagewire::profile {

namespace {

constexpr double width = 1200;
constexpr double margin = 10;
constexpr double frame_height = 17;
constexpr double head_height = 84;
constexpr double narrowest = 0.4;
constexpr double character_width = 6.6;  // of 11 pixels, an upper bound for the usual fonts

constexpr std::string_view style = R"css(
svg{font:11px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#1a1d21}
.back{fill:#fff}.title{font-size:15px;font-weight:600}.dim{fill:#5c6570}
.f{cursor:pointer}.f rect{stroke:#fff;stroke-width:.6}.f:hover rect{stroke:#000}
.f text{fill:#15181b;pointer-events:none}.f.gone{display:none}.f.above{opacity:.55}
.hit rect{stroke:#000;stroke-width:1.6}.key{cursor:pointer;text-decoration:underline}
.copy{fill:#f0776c}.page_cache{fill:#f3b562}.splice{fill:#f7d774}.tcp_send{fill:#7fb2e5}
.tcp_receive{fill:#9fc9ee}.receive_softirq{fill:#5f93cf}.checksum{fill:#e59ac0}.tls{fill:#b79be0}
.memory{fill:#d5a07c}.scheduling{fill:#8fd0c6}.syscall_entry{fill:#c3cad2}
.other_kernel{fill:#dfe4e9}.program{fill:#a5d49a}
@media (prefers-color-scheme:dark){svg{fill:#e8eaed}.back{fill:#14171a}.dim{fill:#a3abb5}
.f rect{stroke:#14171a}.f:hover rect,.hit rect{stroke:#fff}}
)css";

// data-x and data-w are shares of the whole width, so that zooming is arithmetic on them.
constexpr std::string_view script = R"js(
const svg=document.documentElement,frames=[...document.querySelectorAll('.f')],W=1180,M=10,C=6.6;
const num=(g,k)=>+g.dataset[k];
function place(g,x,w){
  const r=g.querySelector('rect'),t=g.querySelector('text');
  g.classList.toggle('gone',w*W<0.3||x>=1||x+w<=0);
  r.setAttribute('x',M+Math.max(x,0)*W);
  r.setAttribute('width',Math.max((Math.min(x+w,1)-Math.max(x,0))*W,0));
  const room=Math.floor((Math.min(x+w,1)-Math.max(x,0))*W/C)-1,n=g.dataset.n;
  t.textContent=room<3?'':n.length<=room?n:n.slice(0,room-1)+'\u2026';
  t.setAttribute('x',M+3+Math.max(x,0)*W);
}
function zoom(to){
  const x0=num(to,'x'),w0=num(to,'w'),d0=num(to,'d');
  for(const g of frames){
    const around=num(g,'d')<=d0&&num(g,'x')<=x0+1e-9&&num(g,'x')+num(g,'w')>=x0+w0-1e-9;
    g.classList.toggle('above',around&&num(g,'d')<d0);
    place(g,around?0:(num(g,'x')-x0)/w0,around?1:num(g,'w')/w0);
  }
}
function search(){
  const what=prompt('Function (regular expression)');
  if(what===null)return;
  let e;try{e=new RegExp(what)}catch(_){return}
  const hits=what===''?[]:frames.filter(g=>e.test(g.dataset.n));
  for(const g of frames)g.classList.toggle('hit',hits.includes(g));
  // A hit below another one is in it already.
  let sum=0,end=-1;
  for(const g of hits.sort((a,b)=>num(a,'x')-num(b,'x')||num(b,'w')-num(a,'w'))){
    if(num(g,'x')>=end-1e-9){sum+=num(g,'w');end=num(g,'x')+num(g,'w');}
  }
  document.getElementById('found').textContent=what===''?'':(100*sum).toFixed(1)+'% in '+what;
}
svg.addEventListener('click',e=>{
  const g=e.target.closest('.f');
  if(g)zoom(g);
  else if(e.target.id==='search')search();
  else if(e.target.id==='reset')zoom(frames[0]);
});
)js";

struct Node {
  const Frame* frame = nullptr;
  std::uint64_t samples = 0;
  std::map<std::string, std::unique_ptr<Node>> children;
};

std::string label_of(const Frame& frame) {
  return frame.function + (frame.in_kernel ? "_[k]" : "");
}

std::unique_ptr<Node> tree_of(const Report& report) {
  auto root = std::make_unique<Node>();
  for (const Stack& stack : report.stacks) {
    Node* node = root.get();
    node->samples += stack.samples;
    for (const std::uint32_t place : stack.frames) {
      const Frame& frame = report.frames[place];
      std::unique_ptr<Node>& child = node->children[label_of(frame)];
      if (!child) child = std::make_unique<Node>();
      child->frame = &frame;
      child->samples += stack.samples;
      node = child.get();
    }
  }
  return root;
}

Category category_of(const Frame& frame) {
  const Frame* const alone = &frame;
  return frame.in_kernel
             ? category_of_kernel_function(frame.function).value_or(Category::OtherKernel)
             : categorize({&alone, 1});
}

std::size_t depth_of(const Node& node) {
  std::size_t deepest = 0;
  for (const auto& [name, child] : node.children) deepest = std::max(deepest, depth_of(*child));
  return deepest + 1;
}

class Drawing {
 public:
  Drawing(std::uint64_t samples, double height) : samples_(samples), height_(height) {}

  struct Place {
    std::uint64_t before = 0;  ///< samples to the left
    std::size_t depth = 0;
  };
  void draw(const Node& node, Place place) {
    const double share = share_of(node.samples);
    if (share * (width - 2 * margin) < narrowest) return;
    frame(node, place);
    std::uint64_t before = place.before;
    for (const auto& [name, child] : node.children) {
      draw(*child, {.before = before, .depth = place.depth + 1});
      before += child->samples;
    }
  }
  std::string take() { return std::move(markup_); }

 private:
  double share_of(std::uint64_t count) const {
    return static_cast<double>(count) / static_cast<double>(samples_);
  }
  void frame(const Node& node, Place place) {
    const std::string label = node.frame == nullptr ? "all" : label_of(*node.frame);
    const std::string_view kind =
        node.frame == nullptr ? "syscall_entry" : name(category_of(*node.frame));
    const double x = share_of(place.before);
    const double w = share_of(node.samples);
    const double pixels = w * (width - 2 * margin);
    const double left = margin + x * (width - 2 * margin);
    const double top = height_ - margin - static_cast<double>(place.depth + 1) * frame_height;
    const double columns = pixels / character_width - 1;
    markup_ += fmt::format(
        R"(<g class="f" data-n="{0}" data-x="{1:.6f}" data-w="{2:.6f}" data-d="{3}"><title>{0})"
        R"( [{4}] {5} samples, {6:.1f}%</title><rect class="{7}" x="{8:.1f}" y="{9:.1f}" )"
        R"(width="{10:.1f}" height="{11}" rx="2"/><text x="{12:.1f}" y="{13:.1f}">{14}</text></g>)"
        "\n",
        escape_markup(label), x, w, place.depth,
        escape_markup(node.frame == nullptr ? "" : node.frame->module), node.samples, 100 * w, kind,
        left, top, pixels, frame_height - 1, left + 3, top + 12,
        columns < 3 ? "" : escape_markup(cut_to(label, static_cast<std::size_t>(columns))));
  }

  std::uint64_t samples_;
  double height_;
  std::string markup_;
};

std::string legend_of(const Report& report) {
  std::string legend;
  double x = margin;
  double y = 54;
  for (std::size_t i = 0; i < category_count; ++i) {
    const auto category = static_cast<Category>(i);
    const double percent = report.percent(category);
    if (percent < 0.05) continue;
    const std::string text = fmt::format("{} {:.1f}%", title(category), percent);
    const double needed = 18 + static_cast<double>(columns_of(text)) * character_width;
    if (x + needed > width - margin) {
      x = margin;
      y += 18;
    }
    legend += fmt::format(
        R"(<rect class="{}" x="{:.1f}" y="{}" width="11" height="11" rx="2"/><text x="{:.1f}" )"
        R"(y="{}">{}</text>)"
        "\n",
        name(category), x, y - 9, x + 15, y, text);
    x += needed + 8;
  }
  return legend;
}

}  // namespace

std::string to_svg(const Report& report) {
  const std::unique_ptr<Node> root = tree_of(report);
  const double height =
      head_height + static_cast<double>(depth_of(*root)) * frame_height + 2 * margin;
  Drawing drawing(std::max<std::uint64_t>(root->samples, 1), height);
  drawing.draw(*root, {});
  const std::string who = report.processes.empty() ? "?" : report.processes.front().name;
  return fmt::format(
      R"(<svg xmlns="http://www.w3.org/2000/svg" width="{0:.0f}" height="{1:.0f}" )"
      R"(viewBox="0 0 {0:.0f} {1:.0f}" role="img">)"
      "\n<title>{2}</title>\n<style>{3}</style>\n"
      R"(<rect class="back" width="{0:.0f}" height="{1:.0f}"/>)"
      R"(<text class="title" x="10" y="20">{2}</text><text class="dim" x="10" y="37">{4}</text>)"
      R"(<text id="found" x="{5}" y="20" text-anchor="end"></text>)"
      R"(<text id="reset" class="key" x="{6}" y="37" text-anchor="end">whole</text>)"
      R"(<text id="search" class="key" x="{5}" y="37" text-anchor="end">search</text>)"
      "\n{7}{8}<script><![CDATA[{9}]]></script>\n</svg>\n",
      width, height, escape_markup(fmt::format("CPU of {}", who)), style,
      escape_markup(fmt::format("{} samples, {:.1f} s by {} at {} Hz; {:.1f}% copying",
                                report.samples, report.seconds, report.event, report.frequency_hz,
                                report.percent(Category::Copy))),
      width - margin, width - margin - 60, legend_of(report), drawing.take(), script);
}

}  // namespace pagewire::profile
