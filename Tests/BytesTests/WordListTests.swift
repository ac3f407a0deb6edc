import Testing

@testable import Bytes

/// The list of words that is searched eight at a time.
struct WordListTests {
    @Test("A word is found at its index, wherever that is, until it is vacant")
    func find() {
        let words = WordList(capacity: 4096, vacant: .max)
        for index in 0..<4096 {
            words.append()
            #expect(words[index] == .max)
            words[index] = UInt32(index) &* 2_654_435_761
        }
        #expect(words.count == 4096)
        for index in 0..<4096 {
            let word = UInt32(index) &* 2_654_435_761
            #expect(words[index] == word && words.firstIndex(of: word) == index)
            words[index] = .max
            #expect(words.firstIndex(of: word) == nil)
        }
    }

    @Test("What stands for nothing is never found, though it fills the list up")
    func vacant() {
        let words = WordList(capacity: 64, vacant: 5)
        words.append()
        #expect(words.firstIndex(of: 5) == nil)
        words.append()
        words[1] = 7
        words.append()
        words[2] = 7
        #expect(words.firstIndex(of: 7) == 1, "the first of equal words")
    }
}
