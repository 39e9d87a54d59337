#!/usr/bin/perl
# Cache::Memcached's operations against the server at MEMCACHED_ADDRESS.
use strict;
use warnings;

use Cache::Memcached;

my $client = Cache::Memcached->new({
    servers => [$ENV{MEMCACHED_ADDRESS} // die "MEMCACHED_ADDRESS is not set\n"],
    connect_timeout => 5,
    select_timeout => 5,
});

sub show {
    my $text = defined $_[0] ? "`$_[0]`" : 'nothing';
    return substr $text, 0, 100;
}

sub expect {
    my ($what, $got, $wanted) = @_;
    my $same = defined $got && defined $wanted ? $got eq $wanted : defined $got == defined $wanted;
    die "$what: expected " . show($wanted) . ', got ' . show($got) . "\n" unless $same;
}

sub holds { return $_[0] ? 1 : 0 }

sub storage {
    my $large = join '', map { chr($_ % 256) } 0 .. 99_999;
    expect('get of nothing', $client->get('pl'), undef);
    expect('set', holds($client->set('pl', 'b')), 1);
    expect('get', $client->get('pl'), 'b');
    expect('add to something', holds($client->add('pl', 'no')), 0);
    expect('add', holds($client->add('pl-add', 'new')), 1);
    expect('replace', holds($client->replace('pl', 'c')), 1);
    expect('replace of nothing', holds($client->replace('pl-none', 'no')), 0);
    expect('append', holds($client->append('pl', 'd')), 1);
    expect('prepend', holds($client->prepend('pl', 'b')), 1);
    expect('get of what was put together', $client->get('pl'), 'bcd');
    expect('append to nothing', holds($client->append('pl-none', 'no')), 0);
    expect('set of a large value', holds($client->set('pl-large', $large)), 1);
    expect('get of a large value', $client->get('pl-large'), $large);
    # A structure is serialized, and its flags say so.
    expect('set of a structure', holds($client->set('pl-list', [1, 'two'])), 1);
    expect('get of a structure', join(',', @{ $client->get('pl-list') }), '1,two');
}

sub many {
    my @keys = map { "pl-$_" } 0 .. 99;
    $client->set($_, "value of $_") for @keys;
    my $found = $client->get_multi(@keys, 'pl-none');
    expect('get_multi', join(',', sort keys %$found), join(',', sort @keys));
    expect("get_multi: $_", $found->{$_}, "value of $_") for @keys;
}

sub numbers {
    $client->set('pl-number', 9);
    expect('incr', $client->incr('pl-number', 3), 12);
    expect('decr', $client->decr('pl-number', 2), 10);
    expect('incr of nothing', holds($client->incr('pl-none', 1)), 0);
}

sub lifetime {
    expect('set for a second', holds($client->set('pl-life', 'x', 1)), 1);
    my $deadline = time + 10;
    while (defined $client->get('pl-life')) {
        die "set: the item outlived its second by nine\n" if time > $deadline;
        select undef, undef, undef, 0.05;
    }
    $client->set('pl-life', 'x');
    expect('delete', holds($client->delete('pl-life')), 1);
    expect('delete of nothing', holds($client->delete('pl-life')), 0);
}

sub whole_server {
    $client->set('pl-flush', 'x');
    expect('flush_all', holds($client->flush_all), 1);
    expect('get after flush_all', $client->get('pl-flush'), undef);
    my $stats = $client->stats('misc');
    expect('stats', holds($stats->{total}{cmd_get}), 1);
}

storage();
many();
numbers();
lifetime();
whole_server();
