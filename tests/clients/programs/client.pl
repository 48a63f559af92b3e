#!/usr/bin/perl
# LWP at work: client.pl WHAT URL. Prints what python_client.py prints.
use strict;
use warnings;
use JSON::PP;
use LWP::UserAgent;

my ($what, $url) = @ARGV;
my $client = LWP::UserAgent->new(keep_alive => 1, timeout => 60);
my $text = '{"text": "we bake bread and cakes for the whole town"}';

sub report {
    my ($answer, $events) = @_;
    my $inside = ($answer->header('Client-Warning') // '') eq 'Internal response';
    my $died = $answer->header('X-Died') // '';
    print JSON::PP->new->canonical->encode({
        status => $inside ? undef : $answer->code + 0,
        sees => $answer->is_success ? ($events == 3 ? '' : $died) : $answer->status_line,
        body => $events ? '' : $answer->decoded_content,
        events => $events}), "\n";
}

sub ask { report($client->post($url, 'Content-Type' => 'application/json', Content => $text), 0); }

sub listen_to {
    my ($most) = @_;
    my $events = 0;
    my $answer = $client->get($url, ':content_cb' => sub {
        my ($part) = @_;
        $events += () = $part =~ /^data:/mg;
        die "enough\n" if $most && $events >= $most;
    }, ':read_size_hint' => 1024);
    report($answer, $events);
}

if ($what eq 'ask') { ask(); }
if ($what eq 'twice') { ask(); ask(); }
if ($what eq 'stream') { listen_to(3); }
if ($what eq 'listen') { listen_to(0); }
if ($what eq 'upload') {
    my $left = 128;
    my $request = HTTP::Request->new(POST => $url, ['Content-Type' => 'application/json'],
                                     sub { $left-- > 0 ? 'x' x 65536 : '' });
    report($client->request($request), 0);
}
