// A doubly linked list whose links live in the members, so that inserting and removing never
// allocates and a member can take itself out. Not owning, not thread-safe.
#pragma once

namespace pagewire {

struct ListNode {
  ListNode* previous = nullptr;
  ListNode* next = nullptr;

  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { unlink(); }

  bool linked() const { return next != nullptr; }
  void unlink() {
    if (next == nullptr) return;
    previous->next = next;
    next->previous = previous;
    previous = next = nullptr;
  }
};

/// A circular list around a sentinel. T derives from a Node type (distinct tags by inheritance).
template <class T, class Node = ListNode>
class IntrusiveList {
 public:
  IntrusiveList() { head_.previous = head_.next = &head_; }
  ~IntrusiveList() {
    while (!empty()) head_.next->unlink();
    head_.previous = head_.next = nullptr;
  }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;

  bool empty() const { return head_.next == &head_; }
  T& front() { return from(head_.next); }
  T& back() { return from(head_.previous); }

  void push_back(T& member) {
    Node& node = member;
    node.previous = head_.previous;
    node.next = &head_;
    head_.previous->next = &node;
    head_.previous = &node;
  }
  T* pop_front() {
    if (empty()) return nullptr;
    T& member = front();
    static_cast<Node&>(member).unlink();
    return &member;
  }

  /// Calls visit(member) for each; the visited member may unlink itself, no other may.
  template <class Visit>
  void for_each(Visit visit) {
    for_each_while([&visit](T& member) {
      visit(member);
      return true;
    });
  }
  /// The same, until visit returns false.
  template <class Visit>
  void for_each_while(Visit visit) {
    for (ListNode* node = head_.next; node != &head_;) {
      ListNode* following = node->next;
      if (!visit(from(node))) return;
      node = following;
    }
  }

 private:
  static T& from(ListNode* node) { return static_cast<T&>(static_cast<Node&>(*node)); }
  ListNode head_;
};

}  // namespace pagewire
