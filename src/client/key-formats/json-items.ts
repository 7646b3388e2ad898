/** An item of the list, as it is written. `cut`: it was longer than allowed, and is not here. */
export interface JsonItem {
  line: number;
  text: string;
  cut: boolean;
}

/** The text is none of the documents that hold a list of keys. */
export class JsonShapeError extends Error {}

const WHITE = /\s/;

/**
 * The items of a JSON document that comes in pieces: of a list, or of the list "keys" of an object. Whether an item is JSON is for
 * its reader to say. Memory is bounded by a piece and maxLength characters, however long the document is.
 *
 *   before -> list                 at [
 *   before -> object               at {
 *   object -> list                 at [ after "keys":
 *   list   -> object | after       at ] of the list
 *   object -> after                at } of the object
 */
export class JsonItems {
  readonly #maxLength: number;
  #where: 'before' | 'object' | 'list' | 'after' = 'before';
  #line = 1;
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** Depth of the list: 1, or 2 in an object; 0: it has not come. */
  #listDepth = 0;
  /** The newest string of the object, which its colon makes a name. */
  #string = '';
  #name = '';
  #item = { line: 0, text: '', cut: false };

  constructor(maxLength: number) {
    this.#maxLength = maxLength;
  }

  push(piece: string): JsonItem[] {
    const items: JsonItem[] = [];
    for (const character of piece) this.#take(character, items);
    return items;
  }

  /** To be called when nothing more comes. */
  end(): void {
    if (this.#where === 'before') throw new JsonShapeError('is empty');
    if (this.#where !== 'after') throw new JsonShapeError('ends in the middle');
    if (this.#listDepth === 0) throw new JsonShapeError('has no list "keys"');
  }

  #take(character: string, items: JsonItem[]): void {
    if (character === '\n') this.#line++;
    if (this.#inString) {
      this.#inText(character);
      return;
    }
    if (this.#where === 'after' || (this.#where === 'before' && character !== '[' && character !== '{')) {
      this.#outside(character);
      return;
    }
    const isBase = this.#where === 'list' && this.#depth === this.#listDepth;
    if (isBase && (character === ',' || character === ']')) {
      this.#endItem(items, character === ',');
      if (character === ',') return;
    }
    switch (character) {
      case '"':
        this.#inString = true;
        this.#string = '';
        break;
      case '[':
      case '{':
        this.#open(character);
        return;
      case ']':
      case '}':
        this.#close(character);
        return;
      case ':':
        if (this.#where === 'object' && this.#depth === 1) this.#name = this.#string;
        break;
    }
    this.#keep(character);
  }

  #inText(character: string): void {
    this.#keep(character);
    if (this.#escaped) this.#escaped = false;
    else if (character === '\\') this.#escaped = true;
    else if (character === '"') this.#inString = false;
    else if (this.#where === 'object' && this.#string.length <= 'keys'.length) this.#string += character;
  }

  #open(character: string): void {
    this.#keep(character);
    this.#depth++;
    if (this.#where === 'before') {
      this.#where = character === '[' ? 'list' : 'object';
      if (character === '[') this.#listDepth = 1;
    } else if (this.#where === 'object' && this.#depth === 2 && character === '[' && this.#name === 'keys') {
      this.#where = 'list';
      this.#listDepth = 2;
    }
  }

  #close(character: string): void {
    this.#depth--;
    if (this.#where === 'list' && this.#depth < this.#listDepth) {
      this.#where = this.#depth === 0 ? 'after' : 'object';
      this.#name = '';
    } else {
      if (this.#depth === 0) this.#where = 'after';
      this.#keep(character);
    }
  }

  #outside(character: string): void {
    if (WHITE.test(character) || character === '\ufeff') return;
    throw new JsonShapeError(this.#where === 'after' ? 'goes on behind its end' : 'is no JSON');
  }

  /** Of an item; what is white before it is no part of it. */
  #keep(character: string): void {
    if (this.#where !== 'list') return;
    const item = this.#item;
    if (item.line === 0) {
      if (WHITE.test(character)) return;
      item.line = this.#line;
    }
    if (item.text.length < this.#maxLength) item.text += character;
    else item.cut = true;
  }

  #endItem(items: JsonItem[], isFollowed: boolean): void {
    const { line, text, cut } = this.#item;
    this.#item = { line: 0, text: '', cut: false };
    if (line > 0 || isFollowed) items.push({ line: line || this.#line, text: cut ? '' : text, cut });
  }
}
