/// Lets a value with pointers enter the blocks of `ParallelBlocks`. The blocks read it, or write disjoint parts of what it
/// points to, and are done before the owner goes on.
package struct Shared<Value>: @unchecked Sendable {
    package let value: Value
    package init(_ value: Value) { self.value = value }
}
