#!/usr/bin/php
<?php
// php-memcached's operations against the server at MEMCACHED_ADDRESS, in the protocol MEMCACHED_PROTOCOL.
declare(strict_types=1);

function expect(string $what, mixed $got, mixed $wanted): void
{
    if ($got === $wanted) {
        return;
    }
    global $client;
    [$wanted, $got] = array_map(fn ($value) => substr(var_export($value, true), 0, 100), [$wanted, $got]);
    fwrite(STDERR, "$what: expected $wanted, got $got ({$client->getResultMessage()})\n");
    exit(1);
}

function storage(Memcached $client): void
{
    $large = str_repeat(implode('', array_map('chr', range(0, 255))), 400);
    expect('get of nothing', $client->get('php'), false);
    expect('its result code', $client->getResultCode(), Memcached::RES_NOTFOUND);
    expect('set', $client->set('php', 'b'), true);
    expect('get', $client->get('php'), 'b');
    expect('add to something', $client->add('php', 'no'), false);
    expect('add', $client->add('php-add', 'new'), true);
    expect('replace', $client->replace('php', 'c'), true);
    expect('replace of nothing', $client->replace('php-none', 'no'), false);
    expect('append', $client->append('php', 'd'), true);
    expect('prepend', $client->prepend('php', 'b'), true);
    expect('get of what was put together', $client->get('php'), 'bcd');
    expect('append to nothing', $client->append('php-none', 'no'), false);
    expect('set of a large value', $client->set('php-large', $large), true);
    expect('get of a large value', $client->get('php-large'), $large);
    // Types are in the flags.
    foreach ([7, 1.5, true, ['a' => [1, 2]]] as $value) {
        expect('set of a ' . gettype($value), $client->set('php-typed', $value), true);
        expect('get of a ' . gettype($value), $client->get('php-typed'), $value);
    }
}

function many(Memcached $client): void
{
    $items = [];
    for ($number = 0; $number < 100; $number++) {
        $items["php-$number"] = "value $number";
    }
    expect('setMulti', $client->setMulti($items), true);
    $found = $client->getMulti([...array_keys($items), 'php-none']);
    ksort($items);
    ksort($found);
    expect('getMulti', $found, $items);
    $deleted = $client->deleteMulti(array_keys($items));
    expect('deleteMulti', array_unique(array_values($deleted)), [true]);
    expect('getMulti of nothing', $client->getMulti(array_keys($items)), []);
}

function compareAndSwap(Memcached $client): void
{
    $client->set('php-cas', 'a');
    $unique = $client->get('php-cas', null, Memcached::GET_EXTENDED)['cas'];
    expect('cas', $client->cas($unique, 'php-cas', 'b'), true);
    expect('cas of a change', $client->cas($unique, 'php-cas', 'no'), false);
    expect('its result code', $client->getResultCode(), Memcached::RES_DATA_EXISTS);
    expect('get after cas', $client->get('php-cas'), 'b');
}

function numbers(Memcached $client): void
{
    $client->set('php-number', 9);
    expect('increment', $client->increment('php-number', 3), 12);
    expect('decrement', $client->decrement('php-number', 2), 10);
    expect('decrement below 0', $client->decrement('php-number', 100), 0);
    expect('increment of nothing', $client->increment('php-none'), false);
}

function lifetime(Memcached $client): void
{
    $client->set('php-life', 'x');
    expect('touch', $client->touch('php-life', 1), true);
    expect('touch of nothing', $client->touch('php-none', 1), false);
    $deadline = time() + 10;
    while ($client->get('php-life') !== false) {
        expect('touch: the item is gone after its second', time() > $deadline, false);
        usleep(50_000);
    }
    $client->set('php-life', 'x');
    expect('delete', $client->delete('php-life'), true);
    expect('delete of nothing', $client->delete('php-life'), false);
}

function wholeServer(Memcached $client): void
{
    $client->set('php-flush', 'x');
    expect('flush', $client->flush(), true);
    expect('get after flush', $client->get('php-flush'), false);
    expect('getVersion', count($client->getVersion()), 1);
    expect('getStats', isset(array_values($client->getStats())[0]['cmd_get']), true);
}

[$host, $port] = explode(':', getenv('MEMCACHED_ADDRESS'));
$client = new Memcached();
$client->setOption(Memcached::OPT_BINARY_PROTOCOL, getenv('MEMCACHED_PROTOCOL') === 'binary');
$client->setOption(Memcached::OPT_CONNECT_TIMEOUT, 5000);
// Compressed values cannot be put together.
$client->setOption(Memcached::OPT_COMPRESSION, false);
$client->addServer($host, (int) $port);
storage($client);
many($client);
compareAndSwap($client);
numbers($client);
lifetime($client);
wholeServer($client);
